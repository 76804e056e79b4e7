"""How the logs of jobs are read: the figures, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.log_filter import FILTER_CHARS, OTHER_CHARS


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """The bounds that a log's completeness rests on, and the costs that are kept.

    :param visible: longest time in seconds from an entry's receipt to its being findable, clock skew included. The one
        assumption: what becomes findable later is lost.
    :param arrival: longest time from a job's end to the receipt of its last line.
    :param late: how much older than its receipt a line may be; keeps the query cheap.
    :param interval: seconds between two passes over a job's log.
    :param per_minute: reads a minute, some of the project's 60 left to people.
    :param page: entries a page; 1000 is Cloud Logging's maximum.
    :param chars: characters of a filter that uids may fill.
    :param settle: after a job's success ``(quiet passes, seconds)`` after which its log counts as complete; None waits
        for ``arrival`` and ``visible``, which is certain.
    :param settle_failed: the same after any other end, where the last words matter most.
    :param live_pages: longest pass that chases the present.
    :param late_pages: longest pass over what was received ``visible`` seconds ago; bounds what must be remembered.
    :param remember: seconds that entries are remembered longer than needed, for agents that send a line again.
    :param many: entries of one job above which that is not done.
    :param give_up: seconds of nothing but failures after which an ended job's log is given up.
    """

    visible: float = 60.0
    arrival: float = 60.0
    late: float = 3600.0
    interval: float = 10.0
    per_minute: float = 50.0
    page: int = 1000
    chars: int = FILTER_CHARS - OTHER_CHARS
    settle: tuple[int, float] | None = (3, 20.0)
    settle_failed: tuple[int, float] | None = (6, 60.0)
    live_pages: int = 100
    late_pages: int = 50
    remember: float = 120.0
    many: int = 2000
    give_up: float = 120.0


def for_endpoint(endpoint: Endpoint) -> ReadSettings:
    """The figures of Google, or those of a local Batch, whose quota is its own and whose entries come at once."""
    return ReadSettings(
        visible=endpoint.log_visible,
        arrival=endpoint.log_arrival,
        interval=endpoint.log_interval,
        per_minute=endpoint.log_reads_per_minute,
        settle=endpoint.settle,
        settle_failed=endpoint.settle_failed,
        give_up=endpoint.log_give_up,
    )
