"""The few frozen types that flow through the house.

A job's *spec* is a plain dict of canonical camelCase JSON (``dict[str, Any]``), as the REST API writes it: there is no
second model of it. Times are seconds since the epoch (UTC) unless a name says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Spec = dict[str, Any]
"""A Batch ``Job`` as canonical camelCase JSON."""

TRANSIENT_CODES = frozenset(
    {"UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "UNKNOWN"}
)
"""gRPC status names that waiting can mend."""


class State(StrEnum):
    """``JobStatus.State`` of Batch v1, by name."""

    STATE_UNSPECIFIED = "STATE_UNSPECIFIED"
    QUEUED = "QUEUED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    DELETION_IN_PROGRESS = "DELETION_IN_PROGRESS"
    CANCELLATION_IN_PROGRESS = "CANCELLATION_IN_PROGRESS"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to a job in this state."""
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    @property
    def ending(self) -> bool:
        """Whether somebody asked for the job's end, and it is on its way there."""
        return self in (State.CANCELLATION_IN_PROGRESS, State.DELETION_IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class JobName:
    """The full name of a job.

    :param project_id: the project's id, ``example.com:project`` for a domain-scoped one.
    """

    project_id: str
    region: str
    job_id: str

    def __str__(self) -> str:
        return f"{self.parent}/jobs/{self.job_id}"

    @property
    def parent(self) -> str:
        """``projects/P/locations/R``."""
        return f"projects/{self.project_id}/locations/{self.region}"

    @property
    def console_url(self) -> str:
        """The job's page in the Google Cloud console."""
        return (
            "https://console.cloud.google.com/batch/jobsDetail/regions/"
            f"{self.region}/jobs/{self.job_id}/details?project={self.project_id}"
        )

    @property
    def cancel_command(self) -> str:
        """What ends the job by hand."""
        return f"gcloud batch jobs cancel {self.job_id} --location={self.region} --project={self.project_id}"

    @classmethod
    def parse(cls, name: str) -> JobName:
        """Read ``projects/P/locations/R/jobs/J``; :class:`ValueError` for anything else."""
        found = re.fullmatch(r"projects/([^/]+)/locations/([^/]+)/jobs/([^/]+)", name)
        if not found:
            raise ValueError(f"{name!r} is no job name: write projects/PROJECT/locations/REGION/jobs/JOB")
        return cls(*found.groups())


@dataclass(frozen=True, slots=True)
class Owner:
    """The attempt of an Airflow task that a job belongs to.

    All of it survives retries, crashes and restarts; ``max_tries`` and ``run_started`` change with a clear.

    :param run_started: ``dag_run.start_date`` in ISO form, to the microsecond, or empty if Airflow has none.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    max_tries: int
    run_started: str
    try_number: int = 1


@dataclass(frozen=True, slots=True)
class Event:
    """A status event of a job or a task.

    :param state: the job's or task's new state, where the event tells one; else empty.
    :param exit_code: of a task's execution, where the event tells one.
    """

    at: float
    kind: str
    says: str
    state: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What ``jobs.get`` told of a job.

    :param events: its status events, oldest first.
    :param counts: how many tasks are in which task state (``{"RUNNING": 2, "SUCCEEDED": 1}``).
    :param spec: the job as Batch holds it, canonical camelCase JSON without output fields; only looked at to adopt and
        to say what Batch changed.
    """

    name: JobName
    uid: str
    state: State
    created: float
    events: tuple[Event, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Spec = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A call that failed, in the words of gRPC.

    :param code: the status name (``UNAVAILABLE``, ``NOT_FOUND``).
    :param retry_after: seconds that the server asked to wait, if it did.
    """

    code: str
    message: str
    retry_after: float | None = None

    @property
    def transient(self) -> bool:
        """Whether waiting can mend it."""
        return self.code in TRANSIENT_CODES


@dataclass(frozen=True, slots=True)
class TaskSight:
    """What ``tasks.list`` told of one task of a job.

    :param index: ``BATCH_TASK_INDEX``.
    :param events: its status events, oldest first; each failed attempt leaves one with its exit code.
    """

    index: int
    state: str
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of Cloud Logging.

    :param uid: the job's uid (label ``job_uid``).
    :param log: ``batch_task_logs`` or ``batch_agent_logs``.
    :param at_ns: its own time, nanoseconds since the epoch.
    :param received_ns: when Cloud Logging took it in.
    :param severity: Cloud Logging's name (``DEFAULT``, ``INFO``, ``ERROR``).
    :param task_id: label ``task_id``: ``task/<job uid>-group0-<index>/<attempt>/0``, or empty.
    :param text: what was printed, without the line's end.
    """

    uid: str
    log: str
    at_ns: int
    received_ns: int
    insert_id: str
    severity: str
    task_id: str
    text: str
