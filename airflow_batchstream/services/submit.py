"""One job for one attempt: create it, or find the one that an earlier try created.

No state is stored: the job's id is computed from the attempt, so whoever comes after a crash asks Batch for the same
id. Generation n of the id is tried; a job found under it is adopted if it is ours and alive or succeeded, waited for if
it is being cancelled, and passed over (generation n + 1) if it failed or was cancelled. A job id that the user chose
has one generation only.

What a job is made of may cost something to find out: its images are scanned. So that is done for a job that is created,
and not for one that is found: there is a look before the create. The create decides all the same. A job that appears
between the two is found by it, as without the look.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from airflow_batchstream.core.errors import ApiRefused, JobExists
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.model import JobName, Owner, Sight, Spec, State
from airflow_batchstream.services.calls import Say, patiently

T = TypeVar("T")

Build = Callable[[], Awaitable[Spec]]
MAX_GENERATIONS = 1000
GIVE_UP_SECONDS = 600.0
"""Longest outage of Batch that is waited out before a job is known to exist."""
_WHOSE = ("dag-id", "run-id", "task-id")


class Batch(Protocol):
    """What is needed of :class:`airflow_batchstream.clients.google.GoogleClients`."""

    async def create_job(self, parent: str, job_id: str, spec: Spec, request_id: str) -> Sight: ...
    async def get_job(self, name: JobName) -> Sight: ...
    async def list_jobs(self, parent: str, wanted: str, limit: int = 100) -> list[Sight]: ...
    async def cancel_job(self, name: JobName, request_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be submitted, and for whom.

    :param spec: the effective job, our labels in it.
    :param job_id: the id that the user chose; empty for a computed one.
    :param salt: makes the request ids of this try its own (the task instance's id): a repeat by the client is one job,
        a later try sees what is there.
    :param poll_seconds: between two looks at a job whose end is awaited.
    :param cancel_lost: whether a job of the same task that an earlier, cleared attempt left alive is cancelled first.
    :param give_up_after: seconds for which an outage is waited out.
    :param end_within: seconds for which the end of an earlier job that is being cancelled is waited for.
    """

    project_id: str
    region: str
    spec: Spec
    owner: Owner
    salt: str
    job_id: str = ""
    cancel_lost: bool = True
    give_up_after: float = GIVE_UP_SECONDS
    end_within: float = 900.0
    poll_seconds: float = 3.0


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job that belongs to the attempt.

    :param adopted: it was there before: an earlier try had created it.
    :param spec: what was sent to create it; of an adopted job, what would have been sent, but for what ``build`` adds.
    """

    sight: Sight
    adopted: bool
    spec: Spec


async def submit(batch: Batch, wanted: Submission, say: Say, build: Build | None = None) -> Submitted:
    """Create the job, or adopt the one that an earlier try of the same attempt created.

    :param build: makes the spec to be sent, out of the one in ``wanted``; called once, and only for a job that does not
        exist yet. What it raises ends the submission. None to send the spec in ``wanted``.
    :raises JobExists: the id is taken by a job that is not ours or, if the user chose the id, by a dead one.
    :raises ApiRefused: Batch refuses the job; nothing runs.
    """
    calls = _Calls(batch, wanted, say, build)
    if wanted.job_id:
        found = await _submit_under(calls, wanted.job_id, chosen=True)
    else:
        await _end_lost_jobs(calls)
        found = await _submit_computed(calls)
    if found is None:
        raise ApiRefused(f"{MAX_GENERATIONS} jobs of this task have failed: clear the task.", code="ABORTED")
    return found


async def _submit_computed(calls: _Calls) -> Submitted | None:
    for generation in range(1, MAX_GENERATIONS + 1):
        found = await _submit_under(calls, identity.job_id(calls.wanted.owner, generation), chosen=False)
        if found:
            return found
    return None


async def _submit_under(calls: _Calls, job_id: str, *, chosen: bool) -> Submitted | None:
    """The job under this id, created or adopted; None if a dead one of ours has it and the next id is to be tried."""
    wanted = calls.wanted
    name = JobName(wanted.project_id, wanted.region, job_id)
    request_id = identity.request_id(job_id, wanted.salt)
    if calls.unbuilt and (there := await calls.look(name)):
        return await _judge(calls, there, adopted=True, chosen=chosen)
    spec = await calls.spec()
    try:
        sight = await calls.patiently(
            lambda: calls.batch.create_job(name.parent, job_id, spec, request_id), f"create the job {job_id}"
        )
        adopted = False
    except ApiRefused as e:
        if e.code != "ALREADY_EXISTS":
            raise
        sight = await calls.patiently(lambda: calls.batch.get_job(name), f"look at the job {job_id}")
        adopted = True
    return await _judge(calls, sight, adopted=adopted, chosen=chosen)


async def _judge(calls: _Calls, sight: Sight, *, adopted: bool, chosen: bool) -> Submitted | None:
    """Whether a job found (or answered by create, which may repeat an earlier answer) is the attempt's job."""
    name, ours = sight.name, calls.wanted.spec["labels"]
    if sight.labels.get(identity.ID_LABEL) != ours[identity.ID_LABEL]:
        raise JobExists(_taken(sight, sight.labels.get(identity.TASK_LABEL) == ours[identity.TASK_LABEL]))
    if sight.state.ending:
        calls.say(logging.INFO, f"The job {name.job_id} of an earlier try is being cancelled: waiting for its end.")
        sight = await _until_ended(calls, sight)
    if sight.state in (State.FAILED, State.CANCELLED):
        if chosen:
            raise JobExists(
                f"job_id: the job {name.job_id!r} exists and is {sight.state}; an id cannot be used again for 60 days. "
                "Choose another job_id, or leave it out: a computed one is new for every new run and retry."
            )
        calls.say(logging.INFO, f"The job {name.job_id} of an earlier try is {sight.state}: a new one is created.")
        return None
    if adopted:
        _say_adopted(calls, sight)
    return Submitted(sight, adopted, calls.sent)


def _say_adopted(calls: _Calls, sight: Sight) -> None:
    calls.say(
        logging.INFO, f"The job {sight.name.job_id} of an earlier try is {sight.state}: adopted, not created again."
    )
    label = identity.SPEC_LABEL
    if sight.labels.get(label) != calls.wanted.spec.get("labels", {}).get(label):
        calls.say(
            logging.WARNING,
            "The adopted job was created from another spec than this try has: the Dag, or what its templates give, has "
            "changed in between. Clear the task to cancel that job and run the new spec.",
        )


async def _end_lost_jobs(calls: _Calls) -> None:
    """Jobs of the same task that an attempt before a clear left behind: waited for, or cancelled, or named."""
    labels = calls.wanted.spec.get("labels", {})
    parent = f"projects/{calls.wanted.project_id}/locations/{calls.wanted.region}"
    task_filter = f'labels.{identity.TASK_LABEL}="{labels.get(identity.TASK_LABEL, "")}"'
    try:
        jobs = await calls.patiently(lambda: calls.batch.list_jobs(parent, task_filter), "list the task's jobs")
    except ApiRefused as e:
        calls.say(logging.WARNING, f"Jobs that an earlier attempt may have left running were not looked for: {e}")
        return
    for job in jobs:
        if job.labels.get(identity.ID_LABEL) == labels.get(identity.ID_LABEL) or job.state.ended:
            continue
        await _end_lost_job(calls, job)


async def _end_lost_job(calls: _Calls, job: Sight) -> None:
    name = job.name
    if not job.state.ending:
        if not calls.wanted.cancel_lost:
            calls.say(
                logging.WARNING,
                f"The job {name.job_id} of an attempt before the clear is {job.state} and is left running, since "
                f"cancel_on_kill is False: {name.console_url}",
            )
            return
        calls.say(
            logging.WARNING, f"The job {name.job_id} of an attempt before the clear is {job.state}: cancelling it."
        )
        request_id = identity.request_id(f"{name.job_id}/cancel", calls.wanted.salt)
        await calls.patiently(lambda: calls.batch.cancel_job(name, request_id), f"cancel the job {name.job_id}")
    await _until_ended(calls, job)


async def _until_ended(calls: _Calls, sight: Sight) -> Sight:
    name, since = sight.name, time.monotonic()
    while not sight.state.ended:
        if time.monotonic() - since > calls.wanted.end_within:
            raise ApiRefused(
                f"The job {name.job_id} of an earlier attempt is {sight.state} and has not ended in "
                f"{calls.wanted.end_within:.0f} s. Nothing was submitted; a retry looks again. {name.console_url}",
                code="DEADLINE_EXCEEDED",
                retryable=True,
            )
        await asyncio.sleep(calls.wanted.poll_seconds)
        try:
            sight = await calls.patiently(lambda: calls.batch.get_job(name), f"look at the job {name.job_id}")
        except ApiRefused as e:
            if e.code != "NOT_FOUND":
                raise
            return Sight(name, sight.uid, State.CANCELLED, sight.created)  # deleted: its id may still be taken
    return sight


class _Calls:
    """The client, and what every call of this module needs."""

    def __init__(self, batch: Batch, wanted: Submission, say: Say, build: Build | None) -> None:
        self.batch, self.wanted, self.say = batch, wanted, say
        self.sent = wanted.spec
        self._build = build
        self._patience = wanted.give_up_after

    @property
    def unbuilt(self) -> bool:
        """Whether the spec has yet to be made."""
        return self._build is not None

    async def spec(self) -> Spec:
        """The spec to be sent, made when it is first wanted."""
        if self._build is not None:
            self.sent = await self._build()
            self._build = None
        return self.sent

    async def look(self, name: JobName) -> Sight | None:
        """The job of that name, if there is one."""
        try:
            return await self.patiently(lambda: self.batch.get_job(name), f"look for the job {name.job_id}")
        except ApiRefused as e:
            if e.code not in ("NOT_FOUND", "PERMISSION_DENIED"):  # who may not look may create all the same
                raise
            return None

    async def patiently(self, call: Callable[[], Awaitable[T]], doing: str) -> T:
        """Repeat a call until it is answered; in one outage all calls together are as patient as one."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer = await patiently(call, doing, self.say, self._patience)
        except ApiRefused:
            self._patience = max(0.0, self._patience - (loop.time() - began))
            raise
        self._patience = self.wanted.give_up_after
        return answer


def _taken(sight: Sight, same_task: bool) -> str:
    labels = sight.labels
    if same_task:
        return (
            f"job_id: the job {sight.name.job_id!r} exists ({sight.state}): this task created it before it was "
            "cleared, and an id cannot be used again for 60 days. Choose another job_id, or leave it out: a computed "
            "one is new after every clear."
        )
    whose = ", ".join(f"{key} {labels[f'airflow-{key}']}" for key in _WHOSE if f"airflow-{key}" in labels)
    return (
        f"job_id: the job {sight.name.job_id!r} exists ({sight.state}) and is not this task's: it belongs to "
        f"{whose or 'somebody who is not Airflow'}. Nothing was submitted. Choose another job_id, or leave it out."
    )
