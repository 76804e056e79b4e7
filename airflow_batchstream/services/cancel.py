"""The end of jobs, asked for by somebody who did not create them: found, cancelled, and waited for if that is wanted.

Each step may be done again: a job that has ended, is ending, or is gone needs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from airflow_batchstream.core.errors import ApiRefused, JobTimedOut
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.model import JobName, Owner, Sight
from airflow_batchstream.core.jobs.times import span
from airflow_batchstream.services.calls import Say, patiently

GIVE_UP_SECONDS = 300.0
"""For which transient errors of one call are waited out."""
MOST_JOBS = 1000
"""Of one task in one run that are looked for: a mapped task has as many instances at most, by Airflow's default."""

READABLE = ("airflow-dag-id", "airflow-run-id", "airflow-task-id")
"""The labels that are asked for; the hash decides."""

CANCELLED, ENDING, ENDED, GONE = "cancelled", "ending already", "ended already", "gone"
"""What was done about a job."""


class Batch(Protocol):
    """What is needed of :class:`airflow_batchstream.clients.google.GoogleClients`."""

    async def get_job(self, name: JobName) -> Sight: ...
    async def list_jobs(self, parent: str, wanted: str, limit: int = 100) -> list[Sight]: ...
    async def cancel_job(self, name: JobName, request_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one job.

    :param state: as last seen; empty if the job is not there.
    :param did: :data:`CANCELLED` and its like.
    """

    name: JobName
    state: str
    did: str

    @property
    def ended(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.state in ("", "SUCCEEDED", "FAILED", "CANCELLED")

    def as_dict(self) -> dict[str, str]:
        """JSON-ready, for XCom."""
        return {"name": str(self.name), "state": self.state, "did": self.did}


async def find(batch: Batch, parent: str, owner: Owner, map_indexes: Collection[int] | None, say: Say) -> list[JobName]:
    """The jobs of a task in a run of its Dag that have not ended, by their labels: whichever attempt created them.

    :param parent: ``projects/P/locations/R``.
    :param owner: the task; its own map index does not count.
    :param map_indexes: those that are wanted; None for all.
    """
    wanted = identity.labels(owner)
    where = " AND ".join(f'labels.{key}="{wanted[key]}"' for key in READABLE)
    jobs = await patiently(
        lambda: batch.list_jobs(parent, where, MOST_JOBS), "list the task's jobs", say, GIVE_UP_SECONDS
    )
    return [job.name for job in jobs if not job.state.ended and _is_of(job.labels, owner, map_indexes)]


def _is_of(labels: Mapping[str, str], owner: Owner, map_indexes: Collection[int] | None) -> bool:
    """Whether the hash says so too: what people read may have been cut, and another Airflow may run the same Dag."""
    try:
        owner = replace(owner, map_index=int(labels.get("airflow-map-index", "")))
    except ValueError:
        return False
    among = map_indexes is None or owner.map_index in map_indexes
    return among and labels.get(identity.TASK_LABEL) == identity.labels(owner)[identity.TASK_LABEL]


async def cancel(batch: Batch, name: JobName, salt: str, say: Say) -> Done:
    """Ask for a job's end, unless it needs none.

    :param salt: makes the request's id this attempt's own: the client's repeat is one request.
    :raises ApiRefused: Batch does not let us.
    """
    done = await _state(batch, name, say)
    if done.did != CANCELLED:
        say(logging.INFO, _said(done))
        return done
    request_id = identity.request_id(f"{name}/cancel", salt)
    try:
        await patiently(lambda: batch.cancel_job(name, request_id), f"cancel the job {name}", say, GIVE_UP_SECONDS)
    except ApiRefused as e:
        if e.code not in ("FAILED_PRECONDITION", "NOT_FOUND"):
            raise
        after = await _state(batch, name, say)  # it has ended meanwhile, or somebody else was quicker
        if after.did == CANCELLED:
            raise
        say(logging.INFO, _said(after))
        return after
    say(logging.INFO, f"The job {name.job_id} was {done.state}: cancelling it. {name.console_url}")
    return done


async def until_ended(batch: Batch, done: Done, *, poll: float, give_up_at: float, say: Say) -> Done:
    """Wait until a job has ended.

    :param give_up_at: seconds since the epoch.
    :raises JobTimedOut: it has not, by then.
    """
    began = time.time()
    while not done.ended:
        left = give_up_at - time.time()
        if left <= 0:
            text = (
                f"The job {done.name.job_id} was told to cancel, and is still {done.state} after "
                f"{span(time.time() - began)}. Its VMs cost money until they are gone. {done.name.console_url}"
            )
            raise JobTimedOut(text, job=done.as_dict())
        await asyncio.sleep(min(poll, max(0.05, left)))
        done = replace(done, state=(await _state(batch, done.name, say)).state)
        if done.ended:
            say(logging.INFO, f"The job {done.name.job_id} is {done.state or 'gone'}.")
    return done


async def _state(batch: Batch, name: JobName, say: Say) -> Done:
    """A job's state, and what there is to do about it."""
    try:
        sight = await patiently(lambda: batch.get_job(name), f"look at the job {name}", say, GIVE_UP_SECONDS)
    except ApiRefused as e:
        if e.code != "NOT_FOUND":
            raise
        return Done(name, "", GONE)
    did = ENDED if sight.state.ended else ENDING if sight.state.ending else CANCELLED
    return Done(name, str(sight.state), did)


def _said(done: Done) -> str:
    name = done.name.job_id
    if done.did == GONE:
        return f"There is no job {done.name}: nothing to cancel."
    if done.did == ENDING:
        return f"The job {name} is {done.state}: its end had been asked for already."
    return f"The job {name} was {done.state} already: nothing to cancel."
