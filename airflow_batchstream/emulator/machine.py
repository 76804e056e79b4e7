"""How a job moves from state to state: a pure function of job, event and time.

    step(job, event, now) -> job

``now`` is nanoseconds since the epoch. Nothing here runs, stores or sleeps: the runner turns what happens into events,
the store keeps what comes out. The words of the status events are those of the real service, as public issues and
programs quote them.

::

    QUEUED ── Scheduled ──> SCHEDULED ── Assigned ──> RUNNING ── last task ended ──> SUCCEEDED | FAILED
      └──────── Refused ────────┴──────────────────────────────────────────────────> FAILED (no task ever ran)
    any of these ── Cancelled ──> CANCELLATION_IN_PROGRESS ── Stopped ──> CANCELLED
    any state ───── Deleted ────> DELETION_IN_PROGRESS ────── Stopped ──> gone

    a task: PENDING ── Assigned ──> ASSIGNED ── Started ──> RUNNING ── Exited ──> SUCCEEDED | FAILED
            and from FAILED back to PENDING where its policy retries it; UNEXECUTED if the job ends before its turn
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from airflow_batchstream.emulator.config import project_number

GROUP = "group0"
"""The name that Batch gives a job's only task group."""

LIVE = frozenset({"QUEUED", "SCHEDULED", "RUNNING"})
ENDING = frozenset({"CANCELLATION_IN_PROGRESS", "DELETION_IN_PROGRESS"})
ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
TASK_ENDED = frozenset({"SUCCEEDED", "FAILED", "UNEXECUTED"})

RESERVED = {
    50001: "Spot VM preemption",
    50002: "Batch no longer receives VM updates",
    50003: "VM is rebooted during task execution",
    50004: "tasks cannot be canceled",
    50005: "task runs over the maximum runtime",
    50006: "VM is recreated during task execution",
}
"""What the status events say of Batch's own exit codes (source: its troubleshooting page)."""


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One entry of a job's or a task's ``statusEvents``."""

    at: int
    description: str
    task_state: str = ""
    exit_code: int | None = None
    type: str = "STATUS_CHANGED"


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a job.

    :param attempt: how often it was retried so far, ``BATCH_TASK_RETRY_ATTEMPT``.
    :param vm: ``zones/Z/instances/N`` where it runs or ran, or empty.
    """

    index: int
    state: str = "PENDING"
    attempt: int = 0
    vm: str = ""
    events: tuple[StatusEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``maxRetryCount`` and the one lifecycle policy that Batch supports.

    :param action: ``RETRY_TASK`` retries these exit codes only, ``FAIL_TASK`` all others, empty every one.
    """

    max_retry_count: int = 0
    action: str = ""
    exit_codes: frozenset[int] = frozenset()

    def retries(self, exit_code: int, attempt: int) -> bool:
        """Whether a task that ended so is run again."""
        if attempt >= self.max_retry_count:
            return False
        matches = exit_code in self.exit_codes
        return {"RETRY_TASK": matches, "FAIL_TASK": not matches}.get(self.action, True)


@dataclass(frozen=True, slots=True)
class Job:
    """All of a job that changes while it runs. The spec does not: it is kept beside it.

    :param first_failure: index and status event of the first task that failed for good; -1 if none did.
    """

    name: str
    uid: str
    created: int
    updated: int
    tasks: tuple[Task, ...]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    state: str = "QUEUED"
    events: tuple[StatusEvent, ...] = ()
    started: int = 0
    ended: int = 0
    first_failure: tuple[int, str] = (-1, "")

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks are in which state."""
        return dict(Counter(t.state for t in self.tasks))

    @property
    def number_name(self) -> str:
        """The name with the project's number, as Batch writes it in status events."""
        _, project, rest = self.name.split("/", 2)
        return f"projects/{project_number(project)}/{rest}"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Batch has found a place for the job."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The job ends before any of its tasks exists: quota, an impossible machine, an agent that never reports."""

    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that Batch says without changing the state, such as a quota that the job waits for."""

    description: str
    type: str = "OPERATIONAL_INFO"


@dataclass(frozen=True, slots=True)
class Assigned:
    """A task has a VM."""

    index: int
    vm: str


@dataclass(frozen=True, slots=True)
class Started:
    """A task's first runnable starts."""

    index: int


@dataclass(frozen=True, slots=True)
class Exited:
    """An attempt of a task has ended.

    :param exit_code: the program's own, or one of :data:`RESERVED`.
    """

    index: int
    exit_code: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody asked for the job's cancellation."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """Somebody asked for the job's deletion."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing of a job that was cancelled runs any more."""


Event = Scheduled | Refused | Noted | Assigned | Started | Exited | Cancelled | Deleted | Stopped


def new(name: str, uid: str, task_count: int, policy: RetryPolicy, now: int) -> Job:
    """A job as ``jobs.create`` leaves it."""
    return Job(name, uid, now, now, tuple(Task(i) for i in range(task_count)), policy)


def step(job: Job, event: Event, now: int) -> Job:
    """The job after ``event``; the same object if the event means nothing in its state."""
    match event:
        case Assigned() | Started() | Exited():
            return _task_step(job, event, now)
        case Noted(description, kind):
            return replace(job, updated=now, events=(*job.events, StatusEvent(now, description, type=kind)))
        case Refused(reason) if job.state in ("QUEUED", "SCHEDULED"):
            return _refused(job, reason, now)
    to = _JOB_TABLE.get((job.state, type(event)))
    return _set(job, to, now) if to else job


_JOB_TABLE: dict[tuple[str, type], str] = {
    ("QUEUED", Scheduled): "SCHEDULED",
    ("CANCELLATION_IN_PROGRESS", Stopped): "CANCELLED",
    **{(state, Cancelled): "CANCELLATION_IN_PROGRESS" for state in LIVE},
    **{(state, Deleted): "DELETION_IN_PROGRESS" for state in LIVE | ENDED | {"CANCELLATION_IN_PROGRESS"}},
}

_TASK_TABLE: dict[tuple[str, type], str] = {
    ("PENDING", Assigned): "ASSIGNED",
    ("ASSIGNED", Started): "RUNNING",
    **{(state, Exited): "ended" for state in ("ASSIGNED", "RUNNING")},
}


def _task_step(job: Job, event: Assigned | Started | Exited, now: int) -> Job:
    if event.index >= len(job.tasks):  # the job ended before it had any
        return job
    task = job.tasks[event.index]
    to = _TASK_TABLE.get((task.state, type(event)))
    if not to:
        return job
    if isinstance(event, Assigned):
        if job.state not in ("SCHEDULED", "RUNNING"):
            return job
        job = _with(job, _move(replace(task, vm=event.vm), to, now), now)
        return _set(job, "RUNNING", now) if job.state == "SCHEDULED" else job
    if isinstance(event, Started):
        return _with(job, _move(task, to, now), now)
    return _settle(_exited(job, task, event.exit_code, now), now)


def _exited(job: Job, task: Task, exit_code: int, now: int) -> Job:
    task = _move(task, "FAILED" if exit_code else "SUCCEEDED", now, exit_code)
    if not exit_code:
        return _with(job, task, now)
    if job.state == "RUNNING" and job.policy.retries(exit_code, task.attempt):
        task = replace(_move(task, "PENDING", now), attempt=task.attempt + 1, vm="")
    elif job.first_failure[0] < 0:
        job = replace(job, first_failure=(task.index, task.events[-1].description))
    return _with(job, task, now)


def _settle(job: Job, now: int) -> Job:
    """End a running job whose last task has ended."""
    if job.state != "RUNNING" or any(t.state not in TASK_ENDED for t in job.tasks):
        return job
    index, says = job.first_failure
    if index < 0:
        return _set(job, "SUCCEEDED", now)
    why = (
        f"Job failed due to task failure. Specifically, task with index {index} failed due to the following task event"
    )
    return _set(job, "FAILED", now, f'{why}: "{says}"')


def _set(job: Job, state: str, now: int, why: str = "") -> Job:
    says = f"Job state is set from {job.state} to {state} for job {job.number_name}.{why}"
    job = replace(job, state=state, updated=now, events=(*job.events, StatusEvent(now, says)))
    if state == "RUNNING":
        return replace(job, started=now)
    if state in ENDED:
        tasks = tuple(replace(t, state="UNEXECUTED") if t.state == "PENDING" else t for t in job.tasks)
        return replace(job, ended=now, tasks=tasks)
    return job


def _refused(job: Job, reason: str, now: int) -> Job:
    """From QUEUED no task comes into being; from SCHEDULED there is a state between, which only the events tell of."""
    job = replace(job, events=(*job.events, StatusEvent(now, reason, type="OPERATIONAL_INFO")))
    if job.state == "QUEUED":
        return _set(replace(job, tasks=()), "FAILED", now)
    return _set(_set(job, "SCHEDULED_PENDING_FAILED", now), "FAILED", now)


def _move(task: Task, state: str, now: int, exit_code: int | None = None) -> Task:
    says = f"Task state is updated from {task.state} to {state} on {task.vm}{_due(exit_code)}."
    return replace(task, state=state, events=(*task.events, StatusEvent(now, says, state, exit_code)))


def _due(exit_code: int | None) -> str:
    if not exit_code:
        return ""
    reserved = RESERVED.get(exit_code)
    return f"{f' due to {reserved}' if reserved else ''} with exit code {exit_code}"


def _with(job: Job, task: Task, now: int) -> Job:
    tasks = (*job.tasks[: task.index], task, *job.tasks[task.index + 1 :])
    return replace(job, tasks=tasks, updated=now)


def rebooted(job: Job) -> Iterator[Event]:
    """What happened to a job while this machine was off: tasks that ran end as 50003, what was to end has ended."""
    for task in job.tasks:
        if task.state in ("ASSIGNED", "RUNNING"):
            yield Exited(task.index, 50003)
    if job.state in ENDING:
        yield Stopped()
