"""From a log entry to the records of Airflow's task log.

Between the hub, which reads entries, and ``tasklog``, which calls ``self.log.log(level, text, timestamp=...,
logger=..., chan=...)`` for each :class:`Record`. Airflow's log page sorts by ``timestamp``, filters by level and
``logger`` and hides ``chan``. Its reader drops a record that equals its neighbour in *every* field: ``chan`` holds the
entry's id, so that two equal lines stay two, and one line read twice shows once.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote

from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.text import clean, pieces
from airflow_batchstream.core.jobs.times import NS, clock, iso, rfc3339

TASK_LOG = "batch_task_logs"
"""What containers and scripts print."""

AGENT_LOG = "batch_agent_logs"
"""What Batch's agent on the VM tells: pulls of images, starts and ends of runnables."""

SEVERITIES = {
    "DEFAULT": 0,
    "DEBUG": 100,
    "INFO": 200,
    "NOTICE": 300,
    "WARNING": 400,
    "ERROR": 500,
    "CRITICAL": 600,
    "ALERT": 700,
    "EMERGENCY": 800,
}
"""``google.logging.type.LogSeverity``, by name."""

_LEVELS = (
    (SEVERITIES["CRITICAL"], logging.CRITICAL),
    (SEVERITIES["ERROR"], logging.ERROR),
    (SEVERITIES["WARNING"], logging.WARNING),
    (SEVERITIES["INFO"], logging.INFO),
    (SEVERITIES["DEBUG"], logging.DEBUG),
)
_TASK = re.compile(r"task/.+-(?P<group>group[0-9]+)-(?P<index>[0-9]+)/(?P<attempt>[0-9]+)(?:/[0-9]+)?")


class Record(NamedTuple):
    """One call of ``self.log.log``.

    :param timestamp: the line's own time, RFC 3339 with nanoseconds.
    :param logger: ``batch.group0.3``: who printed it.
    :param chan: ``stdout/<insert id>``: what makes the record unlike any other.
    """

    level: int
    text: str
    timestamp: str
    logger: str
    chan: str


def records(line: Line) -> list[Record]:
    """The records of an entry: one, or more if it holds line ends or more than 8 KiB. An empty line is a record too."""
    level, source, stream = level_of(line.severity), _source(line), _stream(line)
    timestamp = rfc3339(line.at_ns)
    texts = [piece for part in _parts(line.text) for piece in pieces(clean(part))]
    return [
        Record(level, text, timestamp, source, f"{stream}/{line.insert_id}" + (f".{n}" if n else ""))
        for n, text in enumerate(texts)
    ]


def level_of(severity: str) -> int:
    """A level of :mod:`logging` for a severity's name. DEFAULT and unknown names are INFO: stdout may have no other."""
    rank = _rank(severity)
    return next(level for least, level in _LEVELS if rank >= least)


def at_least(lines: Iterable[Line], floor: str) -> list[Line]:
    """The lines whose severity reaches the floor.

    :param floor: a severity's name; empty or DEFAULT for all. DEFAULT lines count as INFO, as they are shown.
    """
    least = SEVERITIES.get(floor, 0)
    return [line for line in lines if _rank(line.severity) >= least]


def tag(task_id: str) -> str:
    """``task/<job uid>-group0-3/0/0`` -> ``group0.3``, of a later attempt ``group0.3.retry1``; else empty."""
    found = _TASK.fullmatch(task_id)
    if not found:
        return ""
    attempt = int(found["attempt"])
    return f"{found['group']}.{found['index']}" + (f".retry{attempt}" if attempt else "")


def attempt(task_id: str) -> tuple[str, int]:
    """``task/<job uid>-group0-3/1/0`` -> ``("group0.3", 1)``: the task, and which of its attempts; else ``("", 0)``."""
    found = _TASK.fullmatch(task_id)
    return (f"{found['group']}.{found['index']}", int(found["attempt"])) if found else ("", 0)


def task_index(task_id: str) -> int | None:
    """``BATCH_TASK_INDEX`` of the task that printed; None for what is no task id."""
    found = _TASK.fullmatch(task_id)
    return int(found["index"]) if found else None


def logs_explorer_url(project_id: str, uid: str, since: float | None = None, until: float | None = None) -> str:
    """The job's lines in Google's Logs Explorer.

    :param since: shows from here on; seconds since the epoch. The page shows the last hour only if it is not told more.
    """
    query = quote(f'logName="projects/{project_id}/logs/{TASK_LOG}"\nlabels.job_uid="{uid}"', safe="")
    bounds = [(name, iso(at)) for name, at in (("startTime", since), ("endTime", until))]
    told = "".join(f";{name}={quote(at, safe='')}" for name, at in bounds if at)
    return f"https://console.cloud.google.com/logs/query;query={query}{told}?project={quote(project_id, safe='')}"


class LineLimit:
    """Counts lines against ``log_limit``: what is beyond it is left out, and said with its span.

    :param most: lines shown; None for all.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.shown = 0
        self.left_out = 0
        self._first_ns = self._last_ns = 0

    def take(self, lines: list[Line]) -> list[Line]:
        """Those that are shown, in their order."""
        room = len(lines) if self.most is None else max(0, self.most - self.shown)
        taken, beyond = lines[:room], lines[room:]
        self.shown += len(taken)
        for line in beyond:
            self._first_ns = min(line.at_ns, self._first_ns) if self.left_out else line.at_ns
            self._last_ns = max(line.at_ns, self._last_ns)
            self.left_out += 1
        return taken

    def words(self, project_id: str, uid: str) -> str:
        """What was left out so far, for the log; empty if nothing was.

        :param project_id: the project that holds the log.
        """
        if not self.left_out:
            return ""
        since, until = self._first_ns / NS, self._last_ns / NS
        lines = "1 line" if self.left_out == 1 else f"{self.left_out} lines"
        url = logs_explorer_url(project_id, uid, since - 1, until + 1)
        return (
            f"log_limit={self.most}: {lines} left out between {clock(since)} and {clock(until)} UTC. They are in {url}"
        )


def _parts(text: str) -> list[str]:
    """An entry's lines; its own line end makes none."""
    return text.removesuffix("\n").split("\n")


def _rank(severity: str) -> int:
    return SEVERITIES.get(severity, 0) or SEVERITIES["INFO"]


def _source(line: Line) -> str:
    who = "agent" if line.log == AGENT_LOG else tag(line.task_id)
    return f"batch.{who}" if who else "batch"


def _stream(line: Line) -> str:
    """Batch logs stderr as ERROR; nothing else tells the two streams apart."""
    if line.log == AGENT_LOG:
        return "agent"
    return "stderr" if _rank(line.severity) >= SEVERITIES["ERROR"] else "stdout"
