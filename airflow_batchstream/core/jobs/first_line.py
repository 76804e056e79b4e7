"""When a job's containers first printed, as far as that tells when their image was there: lines -> a time.

Beside :mod:`~airflow_batchstream.core.jobs.streamed`, which says what the time means. So that it is never earlier than
the truth:

- Of each task the last attempt counts: an earlier one failed, and what it printed may be the runtime's word that the
  image did not come.
- Docker's words about a pull are no line of the container.
- A line's own time is the VM's, RUNNING is dated by Batch. Cloud Logging's time of receipt is late and on Batch's side:
  where the two are far apart, it is the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_batchstream.core.jobs.lines import attempt
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.streamed import told_by_docker
from airflow_batchstream.core.jobs.times import NS

CLOCKS_SECONDS = 15
"""A VM's clock may be so much behind: with it, the smallest image that can tell (30 s of download) still does not look
streamed when it was downloaded."""
MOST_BY_DOCKER = 5


class FirstLine:
    """Takes a job's lines in any order; knows the earliest one that a container printed."""

    def __init__(self) -> None:
        self.by_docker: list[str] = []
        self._first: dict[str, tuple[int, int | None]] = {}
        """Task -> its last attempt, and the time of that attempt's first line in nanoseconds, if it has one."""

    @property
    def at(self) -> float | None:
        """Seconds since the epoch; None if no container has printed a line."""
        found = [ns for _, ns in self._first.values() if ns is not None]
        return min(found) / NS if found else None

    def take(self, lines: Iterable[Line]) -> None:
        """Take what was read."""
        for line in lines:
            task, number = attempt(line.task_id)
            known, first = self._first.get(task, (-1, None))
            if number > known:
                known, first = self._first[task] = number, None
            at = _surely_at(line)
            if number < known or (first is not None and at >= first):
                continue
            if not told_by_docker(line.text):
                self._first[task] = number, at
            elif len(self.by_docker) < MOST_BY_DOCKER:
                self.by_docker.append(line.text)


def _surely_at(line: Line) -> int:
    far = line.received_ns - line.at_ns > CLOCKS_SECONDS * NS
    return line.received_ns if far else line.at_ns
