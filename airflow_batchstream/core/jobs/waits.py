"""What a wait remembers, and the steps it may take: the data of :mod:`~airflow_batchstream.core.jobs.watch`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from airflow_batchstream.core.jobs.model import JobName, Sight, State


class Reason(StrEnum):
    """Why a wait ended."""

    STATE = "state"
    """The job ended: its state says how."""
    REACHED = "reached"
    """The job came into a state that was waited for; it may live on."""
    TIMEOUT = "timeout"
    QUEUED_TIMEOUT = "queued_timeout"
    EXECUTION_TIMEOUT = "execution_timeout"
    GONE = "gone"
    """There is no such job any more: deleted."""
    REFUSED = "refused"
    """Batch does not let us look; the job lives on."""


DEADLINES = frozenset({Reason.TIMEOUT, Reason.QUEUED_TIMEOUT, Reason.EXECUTION_TIMEOUT})


class News(NamedTuple):
    """Something for the task log.

    :param level: a level of :mod:`logging`.
    :param at: when it happened, seconds since the epoch; None for now.
    """

    level: int
    text: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Print the news, sleep, ask for the job again."""

    seconds: float
    news: tuple[News, ...] = ()


@dataclass(frozen=True, slots=True)
class Cancel:
    """Print the news, ask Batch to cancel the job, tell :func:`after_cancel` how that went."""

    reason: Reason
    news: tuple[News, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The wait is over.

    :param sight: the job as last seen *by this call*; None if the call failed.
    """

    reason: Reason
    sight: Sight | None
    news: tuple[News, ...] = ()


Step = Wait | Cancel | Ended


@dataclass(frozen=True, slots=True)
class Watch:
    """A wait for one job, and how far it has come.

    All instants are wall-clock seconds since the epoch, so that neither a restart nor another machine moves them.

    :param created: the job's create time as Batch reports it; 0 if it is not known.
    :param poll_seconds: pause between two looks at a healthy job.
    :param timeout_at: the end of ``timeout_seconds``.
    :param execution_timeout_at: when Airflow's own timer strikes; the wait acts some seconds before
        (:data:`~airflow_batchstream.core.jobs.deadlines.EXECUTION_MARGIN`).
    :param queued_until: the end of ``queued_timeout_seconds``; lifted once the job was RUNNING.
    :param cancel_on_timeout: whether a deadline cancels the job, or leaves it running.
    :param cancel_wait: how long a cancelled job's end is waited for.
    :param observer: it is somebody else's job: a sensor looks on, and never cancels it.
    :param wait_for: states that end the wait as a success (:mod:`~airflow_batchstream.core.jobs.goal`); empty waits for
        the job's end, and SUCCEEDED is the success.
    :param log_severity: lines below it are not shown; empty or ``DEFAULT`` shows all.
    :param log_limit: most lines shown; None for all.
    :param state: as last seen; None before the first look.
    :param events_shown: marks of the status events that were news already.
    :param errors: calls that failed since the last one that did not.
    :param refusals: how often ``refused_code`` was answered in a row: waiting does not usually mend it.
    :param error: the last failure, in words; kept until a call succeeds.
    :param cancel_reason: the deadline that made us cancel; empty if none did.
    :param cancel_error: why the cancel could not be sent, in words.
    """

    job: JobName
    uid: str
    created: float = 0.0
    poll_seconds: float = 10.0
    timeout_at: float | None = None
    execution_timeout_at: float | None = None
    queued_until: float | None = None
    cancel_on_timeout: bool = True
    cancel_wait: float = 180.0
    observer: bool = False
    wait_for: tuple[str, ...] = ()
    get_logs: bool = True
    log_severity: str = ""
    log_limit: int | None = None
    state: State | None = None
    running_since: float | None = None
    events_shown: tuple[str, ...] = ()
    errors: int = 0
    errors_since: float | None = None
    refusals: int = 0
    refused_since: float | None = None
    refused_code: str = ""
    error_code: str = ""
    error: str = ""
    cancel_reason: str = ""
    cancel_since: float | None = None
    cancel_sent_at: float | None = None
    cancel_tries: int = 0
    cancel_error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: a trigger's arguments."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        state = str(self.state) if self.state else None
        lists = {"events_shown": list(self.events_shown), "wait_for": list(self.wait_for)}
        return plain | {"job": str(self.job), "state": state} | lists

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Watch:
        """The reverse; what another version wrote is accepted: unknown keys are dropped, missing ones defaulted."""
        known = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        state = str(known.get("state"))
        return cls(
            **known
            | {
                "job": JobName.parse(known["job"]),
                "state": State(state) if state in State.__members__ else None,
                "events_shown": tuple(known.get("events_shown") or ()),
                "wait_for": tuple(known.get("wait_for") or ()),
            }
        )
