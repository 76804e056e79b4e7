"""Runs jobs: one coroutine a job, one an attempt of a task; what happens becomes events for :mod:`.machine`.

    start(record) ─> QUEUED ─> SCHEDULED ─> workers take tasks in order ─> Attempt.run() ─> exit code ─> retry or done
    end(record, "cancel" | "delete") ─> every attempt is told to stop: TERM, and KILL some seconds later

Each event is one transaction of the store.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from airflow_batchstream.emulator.attempt import Attempt, Machine
from airflow_batchstream.emulator.entries import Entries
from airflow_batchstream.emulator.joblog import JobLog
from airflow_batchstream.emulator.machine import (
    ENDING,
    LIVE,
    Assigned,
    Cancelled,
    Deleted,
    Event,
    Exited,
    Noted,
    Refused,
    Scheduled,
    Started,
    Stopped,
    rebooted,
    step,
)
from airflow_batchstream.emulator.store import Operation, Record, Store

log = logging.getLogger(__name__)

KEPT = 60 * 86_400 * 10**9
"""How long an ended job is kept, in nanoseconds (source: Batch's documentation). Looked at when the server starts."""

UNKNOWN = 50000
"""The exit code of a task that failed for no reason that Batch knows."""


class JobFaults(Protocol):
    """What may go wrong with a job: see :mod:`airflow_batchstream.emulator.faults`."""

    def refusal(self, name: str, state: str) -> str:
        """Why the job ends in this state, before any task runs, or empty."""
        ...

    def stays(self, name: str, state: str) -> tuple[float, str] | None:
        """Seconds that the job stays in a state, and what Batch says about it."""
        ...

    def lost(self, name: str) -> tuple[float, int] | None:
        """After how many seconds the next attempt of a task is lost, and its exit code."""
        ...

    def entry_delays(self, name: str) -> tuple[float, float]:
        """Seconds until the job's next log entry is received, and from then until it can be found."""
        ...


@dataclass(slots=True)
class _Run:
    """A job that is under way."""

    record: Record
    log: JobLog
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Runner:
    """All jobs of a local Batch.

    :param queued: seconds that a job stays QUEUED, and ``scheduled`` that it stays SCHEDULED.
    :param slots: how many tasks run at once, over all jobs.
    """

    def __init__(
        self,
        store: Store,
        entries: Entries,
        machine: Machine,
        faults: JobFaults,
        *,
        queued: float,
        scheduled: float,
        slots: int,
    ) -> None:
        self.store, self.entries, self.machine, self.faults = store, entries, machine, faults
        self.queued, self.scheduled = queued, scheduled
        self.slots = asyncio.Semaphore(slots)
        self._runs: dict[str, _Run] = {}

    def resume(self) -> None:
        """Take up what was under way when this server ended: what ran then has ended as 50003."""
        for record in list(self.store.jobs.values()):
            if record.job.ended and record.job.ended < time.time_ns() - KEPT:
                self.store.remove(record.job)
            if record.job.state not in LIVE | ENDING:
                continue
            for event in rebooted(record.job):
                self._apply(record, event)
            self._finish(record)
            if record.job.name in self.store.jobs and record.job.state in LIVE:
                self.start(record)

    def start(self, record: Record) -> None:
        """Run a job, in the background."""
        name = record.job.name
        job_log = JobLog(self.entries, record.job, record.spec, lambda: self.faults.entry_delays(name))
        run = _Run(record, job_log)
        self._runs[name] = run
        run.task = asyncio.create_task(self._job(run), name=name)
        run.task.add_done_callback(_report)

    def end(self, record: Record, verb: str) -> None:
        """Cancel or delete a job. Its operation is done once nothing of it runs."""
        self._apply(record, Cancelled() if verb == "cancel" else Deleted())
        run = self._runs.get(record.job.name)
        if run is None:
            self._finish(record)
        else:
            run.stop.set()

    async def close(self) -> None:
        """End every task now, leave the jobs as they are: a restart finds them."""
        runs = list(self._runs.values())
        for run in runs:
            if run.task is not None:
                run.task.cancel()
        await asyncio.gather(*(run.task for run in runs if run.task is not None), return_exceptions=True)

    def _apply(self, record: Record, event: Event) -> None:
        job = step(record.job, event, time.time_ns())
        if job is not record.job:
            self.store.save(record, job)

    def _finish(self, record: Record) -> None:
        """Nothing of the job runs any more: close its operations, forget it if it was deleted."""
        now = time.time_ns()
        if record.job.state == "CANCELLATION_IN_PROGRESS":
            self._apply(record, Stopped())
        if record.job.state == "DELETION_IN_PROGRESS":
            self.store.remove(record.job)
        for operation in [o for o in self.store.operations.values() if o.target == record.job.name and not o.ended]:
            self.store.put_operation(
                Operation(operation.name, operation.target, operation.verb, operation.created, now)
            )

    async def _job(self, run: _Run) -> None:
        record = run.record
        if await self._passes(run, "QUEUED", self.queued):
            self._apply(record, Scheduled())
        if await self._passes(run, "SCHEDULED", self.scheduled) or record.job.state == "RUNNING":
            await self._tasks(run)
        if record.job.state in ENDING:
            await self._linger(record)
        self._runs.pop(record.job.name, None)
        self._finish(record)

    async def _passes(self, run: _Run, state: str, seconds: float) -> bool:
        """Stay in a state for a while; whether the job goes on from it."""
        record = run.record
        if record.job.state != state:
            return False
        stays = self.faults.stays(record.job.name, state)
        if stays:
            seconds, says = stays
            if says:
                self._apply(record, Noted(says))
        if await _within(run.stop, seconds):
            return False
        if reason := self.faults.refusal(record.job.name, state):
            self._apply(record, Refused(reason))
        return record.job.state == state

    async def _linger(self, record: Record) -> None:
        """Stay on the way to the end, if a fault says so."""
        stays = self.faults.stays(record.job.name, record.job.state)
        if stays:
            await asyncio.sleep(stays[0])

    async def _tasks(self, run: _Run) -> None:
        """Run all tasks that have not ended, as many at once as the job allows."""
        waiting = deque(t.index for t in run.record.job.tasks if t.state == "PENDING")
        workers = min(run.record.spec.task_groups[0].parallelism, len(waiting))
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(run, waiting))

    async def _worker(self, run: _Run, waiting: deque[int]) -> None:
        while waiting and not run.stop.is_set():
            index = waiting.popleft()
            async with self.slots:
                if not run.stop.is_set():
                    await self._attempt(run, index)
            if run.record.job.tasks[index].state == "PENDING" and not run.stop.is_set():
                waiting.append(index)

    async def _attempt(self, run: _Run, index: int) -> None:
        record = run.record
        attempt = Attempt(self.machine, record, index, run.log, run.stop)
        self._apply(record, Assigned(index, attempt.vm))
        self._apply(record, Started(index))
        try:
            exit_code = await self._run(attempt)
        except Exception as error:
            log.exception("The local Batch failed at %s", attempt.task_id)
            run.log.agent(attempt.task_id, f"The local Batch failed: {error!r}", "ERROR")
            exit_code = UNKNOWN
        if stays := self.faults.stays(record.job.name, "RUNNING"):
            await _within(run.stop, stays[0])
        self._apply(record, Exited(index, exit_code))

    async def _run(self, attempt: Attempt) -> int:
        """Run it to its end, or until a fault takes its VM away."""
        lost = self.faults.lost(attempt.job_name)
        if lost is None:
            return await attempt.run()
        seconds, exit_code = lost
        try:
            return await asyncio.wait_for(attempt.run(), seconds)
        except TimeoutError:
            return exit_code


def _report(task: asyncio.Task[None]) -> None:
    """A job whose coroutine broke stays as it is until the next start; the server's log says why."""
    if not task.cancelled() and (error := task.exception()):
        log.error("The local Batch failed at job %s", task.get_name(), exc_info=error)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event happens within so many seconds."""
    if seconds <= 0 or event.is_set():
        return event.is_set()
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
