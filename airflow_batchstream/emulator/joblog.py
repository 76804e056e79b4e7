"""What one job writes to Cloud Logging: its containers' lines, and what the agent says of them.

bytes of a pipe -> LineSplitter -> JobLog.task_line ─┐
                         what the runner does -> JobLog.agent ─> Entries
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any

from airflow_batchstream.emulator.config import project_number
from airflow_batchstream.emulator.entries import Entries
from airflow_batchstream.emulator.log_filter import SEVERITIES
from airflow_batchstream.emulator.machine import GROUP, Job
from airflow_batchstream.emulator.validate import CLOUD_LOGGING

TASK_LOG, AGENT_LOG = "batch_task_logs", "batch_agent_logs"
LONGEST = 200_000
"""Bytes of a line that become one entry; Cloud Logging takes 256 KB with labels and all."""

Delays = Callable[[], tuple[float, float]]
"""Seconds until the next entry is received, and from then until it can be found."""


class LineSplitter:
    """Cuts what comes from a pipe into lines. Holds no more than one unfinished line of :data:`LONGEST` bytes."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self.take = take
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Take a piece, cut anywhere."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            self._emit(line)
        while len(self._rest) >= LONGEST:
            self.take(self._rest[:LONGEST])
            self._rest = self._rest[LONGEST:]

    def close(self) -> None:
        """The pipe has ended; what came last may lack its line end."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        if rest:
            self._emit(rest)

    def _emit(self, line: str) -> None:
        line = line.removesuffix("\r")
        for start in range(0, max(len(line), 1), LONGEST):
            self.take(line[start : start + LONGEST])


class JobLog:
    """The log entries of one job. A job without a logs policy has none, as on Batch.

    :param spec: the protobuf ``Job``.
    """

    def __init__(self, entries: Entries, job: Job, spec: Any, delays: Delays) -> None:
        _, self.project, _, region, _, job_id = job.name.split("/")
        self.entries, self.uid, self.delays = entries, job.uid, delays
        self.kept = spec.logs_policy.destination == CLOUD_LOGGING
        generic = spec.logs_policy.cloud_logging_option.use_generic_task_monitored_resource
        group = f"{job.number_name}/taskGroups/{GROUP}"
        self._resource = _generic(self.project, region, job_id) if generic else _resource(self.project, region, job_id)
        self._labels = dict(spec.labels) | {"job_uid": job.uid, "task_group_name": group}
        self._origin = 0

    def task_line(self, task_id: str, runnable: int, severity: str, text: str) -> None:
        """One line of a container or script."""
        self._write(TASK_LOG, severity, task_id, str(runnable), text)

    def agent(self, task_id: str, text: str, severity: str = "INFO") -> None:
        """Something that the agent says."""
        self._write(AGENT_LOG, severity, task_id, "", text)

    def _write(self, log: str, severity: str, task_id: str, runnable: str, text: str) -> None:
        if not self.kept:
            return
        if not self._origin:
            self._origin = self.entries.origin(self._labels, self._resource)
        late, hidden = self.delays()
        self.entries.write(
            project=self.project, log=log, severity=SEVERITIES[severity], uid=self.uid, origin=self._origin,
            task_id=task_id, runnable=runnable, text=text, late=late, hidden=hidden,
        )  # fmt: skip


def _resource(project: str, region: str, job_id: str) -> dict[str, object]:
    labels = {"resource_container": f"projects/{project_number(project)}", "location": region, "job_id": job_id}
    return {"type": "batch.googleapis.com/Job", "labels": labels}


def _generic(project: str, region: str, job_id: str) -> dict[str, object]:
    labels = {"project_id": project, "location": region, "namespace": "", "job": job_id, "task_id": GROUP}
    return {"type": "generic_task", "labels": labels}
