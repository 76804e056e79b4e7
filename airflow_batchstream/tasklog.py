"""A container's line -> a record of the task log: at its own time, with its own level, tagged with its Batch task.

The UI sorts by ``timestamp``, filters by level and by ``logger`` (``batch.group0.3``) and hides ``chan``, which carries
the entry's insert id: a line that a restarted triggerer reads again is then folded into the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_batchstream.core.jobs.lines import records
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.times import ns, rfc3339
from airflow_batchstream.core.jobs.watch import News


class TaskLog:
    """Where a wait says what happens: the operator's or trigger's own log.

    :param log: a structlog logger of Airflow's; its keyword arguments become the record's fields.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def say(self, level: int, text: str) -> None:
        """A word of ours."""
        for line in text.splitlines() or [""]:
            self._log.log(level, line)

    def table(self, lines: Iterable[str]) -> None:
        """Lines that belong together."""
        for line in lines:
            self._log.info(line)

    def news(self, items: Iterable[News]) -> None:
        """Status events, at the time they happened; words about the wait, now."""
        for item in items:
            at = {} if item.at is None else {"timestamp": rfc3339(ns(item.at)), "logger": "batch.job"}
            self._log.log(item.level, item.text, **at)

    def lines(self, lines: Iterable[Line]) -> None:
        """What containers printed. Blocks while it writes: some 3,000 lines a second."""
        for line in lines:
            for record in records(line):
                self._log.log(
                    record.level, record.text, timestamp=record.timestamp, logger=record.logger, chan=record.chan
                )
