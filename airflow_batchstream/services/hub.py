"""The only wait loop: looks at jobs, reads their logs, and tells the end.

``decide`` (core) says what to do; this module sleeps, asks and hands over what there is to show. A worker runs it with
one job, a triggerer with many: what they share is in :class:`Hub`, one for each event loop and endpoint.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_batchstream.core.jobs import events, identity
from airflow_batchstream.core.jobs.allowance import Allowance
from airflow_batchstream.core.jobs.model import JobName, Sight, State, TaskSight, Trouble
from airflow_batchstream.core.jobs.outcome import Outcome
from airflow_batchstream.core.jobs.patience import backoff
from airflow_batchstream.core.jobs.streamed import Signs, first_waits_for, judge
from airflow_batchstream.core.jobs.watch import Cancel, Ended, Reason, Watch, after_cancel, decide
from airflow_batchstream.services.joblog import Emit, JobLog, agent_tail
from airflow_batchstream.services.logreader import LogReader

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients

T = TypeVar("T")

LOOKS_PER_MINUTE = 6_000.0
"""Looks at jobs that one hub may take, of the 15,000 reads a minute that Batch allows a project in a region."""
LOOKS_AT_ONCE = 50
"""Of them under way at a time: a thousand at once would be a burst for nobody's good."""
TASKS_READ = 10_000
"""Most tasks of a failed job that are looked at for their exit codes."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of the image, beside what Batch tells; a trigger's argument.

    :param streaming: whether the job asks for Image streaming.
    :param compressed_bytes: of all layers, as the manifest declares; 0 if nobody looked.
    :param verdict: what the scan said of the streaming rules: ``holds``, ``warning``, ``broken`` or ``unknown``; empty
        if there was none.
    """

    image: str = ""
    digest: str = ""
    streaming: bool = False
    compressed_bytes: int = 0
    verdict: str = ""

    def signs(self) -> Signs:
        """What it tells of how the image comes, before the run has shown anything."""
        return Signs(self.streaming, self.image, self.compressed_bytes, self.verdict)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Subject:
        """What another version wrote is accepted: unknown keys are dropped, missing ones defaulted."""
        return cls(**{f.name: plain[f.name] for f in fields(cls) if plain.get(f.name) is not None})


class Stopped(Exception):
    """The wait was told to stop before the job's end.

    :param watch: how far it has come.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__(f"The wait for {watch.job} was told to stop.")
        self.watch = watch


class Hub:
    """Waits for jobs of one endpoint in one event loop: what they share are the clients and the readers of logs."""

    def __init__(self, clients: GoogleClients) -> None:
        self.clients = clients
        self.unauthenticated = False
        """Whether a wait ended because its credentials were refused: they will not serve the next one either."""
        self._readers: dict[str, list[LogReader]] = {}
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._turn = asyncio.Lock()
        self._allowance = Allowance(LOOKS_PER_MINUTE, time.time(), burst=LOOKS_AT_ONCE)

    async def watch(self, watch: Watch, emit: Emit, subject: Subject, stop: asyncio.Event) -> Outcome:
        """Wait for a job's end, and for the end of its log.

        :param stop: once set, the wait leaves within a second or two.
        :raises Stopped: if it was.
        """
        async with self._shown(watch, emit) as log, _stopping(stop) as stopping:
            watch, ended = await self._follow(watch, emit, stopping)
            assert ended is not None
            return await self._conclude(watch, ended, log, subject, stopping)

    async def glance(
        self, watch: Watch, emit: Emit, subject: Subject, stop: asyncio.Event, seconds: float
    ) -> tuple[Watch, Outcome | None]:
        """Wait for some seconds only, showing status events and no lines; if the job ends meanwhile, its whole log.

        :return: how far the wait has come, and the outcome of a job that ended.
        """
        async with _stopping(stop) as stopping:
            watch, ended = await self._follow(watch, emit, stopping, until=time.time() + seconds)
            if ended is None:
                return watch, None
            async with self._shown(watch, emit) as log:
                return watch, await self._conclude(watch, ended, log, subject, stopping)

    @asynccontextmanager
    async def _shown(self, watch: Watch, emit: Emit) -> AsyncIterator[JobLog | None]:
        """The job's log, shown meanwhile; None where it is not wanted."""
        if not watch.get_logs:
            yield None
            return
        log = JobLog(self._reader(watch), watch, emit)
        log.begin()
        try:
            yield log
        finally:
            log.close()

    async def _conclude(
        self, watch: Watch, ended: Ended, log: JobLog | None, subject: Subject, stopping: asyncio.Task[bool]
    ) -> Outcome:
        """The rest of the log, then all that explains the end."""
        if log and not _lives(watch, ended):
            log.ended(time.time(), failed=ended.reason is not Reason.STATE or watch.state is not State.SUCCEEDED)
            await _either(asyncio.ensure_future(log.complete()), stopping, watch)
        return await self._outcome(watch, ended, log, subject)

    def _reader(self, watch: Watch) -> LogReader:
        """The project's reader. A second wait for one job gets a reader of its own, paid from the same quota."""
        readers = self._readers.setdefault(watch.job.project_id, [])
        free = next((reader for reader in readers if not reader.has(watch.uid)), None)
        if free is None:
            free = LogReader(self.clients, watch.job.project_id, readers[0].allowance if readers else None)
            readers.append(free)
        return free

    async def _follow(
        self, watch: Watch, emit: Emit, stopping: asyncio.Task[bool], until: float | None = None
    ) -> tuple[Watch, Ended | None]:
        """Look at the job until the wait is over, or the time is."""
        while until is None or time.time() < until:
            seen = await _either(asyncio.ensure_future(self._look(watch)), stopping, watch)
            watch, step = decide(watch, seen, time.time(), random.random())
            if isinstance(step, Ended) and step.reason is Reason.REFUSED:
                self.unauthenticated |= watch.error_code == "UNAUTHENTICATED"
            if step.news:
                await asyncio.to_thread(emit.news, step.news)
            if isinstance(step, Ended):
                return watch, step
            if isinstance(step, Cancel):
                trouble = await self._cancel(watch)
                watch, step = after_cancel(watch, trouble, time.time(), random.random())
                if step.news:
                    await asyncio.to_thread(emit.news, step.news)
            left = step.seconds if until is None else min(step.seconds, until - time.time())
            await _pause(left, stopping, watch)
        return watch, None

    async def _look(self, watch: Watch) -> Sight | Trouble:
        from airflow_batchstream.clients.google import CallFailed

        async with self._turn:  # in the order in which they asked
            while not self._allowance.take(time.time()):  # noqa: ASYNC110 - it is time that is waited for
                await asyncio.sleep(60 / LOOKS_PER_MINUTE)
        try:
            async with self._looks:
                return await self.clients.get_job(watch.job)
        except CallFailed as e:
            return e.trouble

    async def cancel_surely(self, name: JobName, request_id: str, tries: int = 6) -> None:
        """Ask for the job's end, some tries if Batch has trouble; what cannot be cancelled any more has ended."""
        from airflow_batchstream.clients.google import CallFailed

        for n in range(1, tries + 1):
            try:
                return await self.clients.cancel_job(name, request_id)
            except CallFailed as e:
                if e.trouble.code in ("NOT_FOUND", "FAILED_PRECONDITION"):
                    return None
                if not e.trouble.transient or n == tries:
                    raise
                await asyncio.sleep(backoff(n, random.random(), cap=5.0))
        return None

    async def _cancel(self, watch: Watch) -> Trouble | None:
        from airflow_batchstream.clients.google import CallFailed

        try:
            await self.clients.cancel_job(watch.job, identity.request_id(f"{watch.job}/cancel", watch.uid))
        except CallFailed as e:
            return e.trouble
        return None

    async def _outcome(self, watch: Watch, ended: Ended, log: JobLog | None, subject: Subject) -> Outcome:
        """All that is known, asked for where it explains something."""
        arrived = ended.reason in (Reason.STATE, Reason.REACHED)
        well = arrived and watch.state not in (State.FAILED, State.CANCELLED)
        tail = tuple(log.tail) if log else ()
        how = judge(await self._signs(watch, ended, log, subject))
        return Outcome(
            watch=watch,
            reason=ended.reason,
            sight=ended.sight,
            tasks=() if well else await self._tasks(watch),
            tail=tail,
            agent_tail=await agent_tail(self.clients, watch) if log and not well and not tail else (),
            image=subject.image,
            digest=subject.digest,
            streaming=subject.streaming,
            streamed=how.word,
            streamed_says=str(how) if watch.running_since is not None else "",
            ended=None if _lives(watch, ended) else time.time(),
        )

    async def _signs(self, watch: Watch, ended: Ended, log: JobLog | None, subject: Subject) -> Signs:
        """What the run showed of how the image came. A moment's work at most: it decides nothing."""
        signs = subject.signs()
        sight = ended.sight
        if not subject.streaming or log is None or sight is None:
            return signs
        # Where a job does not succeed, its first line may be the runtime's word that the image did not come.
        tells = watch.state is State.SUCCEEDED and first_waits_for(sight.spec, subject.image)
        return replace(
            signs,
            # As Batch dates it: the watch may have noticed it later, and the image would seem to have come sooner.
            running_at=events.when(sight.events, State.RUNNING),
            first_line_at=log.first_at if tells else None,
            agent=() if _lives(watch, ended) else await log.pulls(self.clients),
        )

    async def _tasks(self, watch: Watch) -> tuple[TaskSight, ...]:
        from airflow_batchstream.clients.google import CallFailed

        try:
            return await self.clients.list_tasks(watch.job, limit=TASKS_READ)
        except CallFailed:
            return ()  # it only explains; the state has decided


def _lives(watch: Watch, ended: Ended) -> bool:
    """Whether the job goes on, and its log with it: there is no end of either to wait for."""
    state = ended.sight.state if ended.sight else watch.state
    gone = ended.reason is Reason.GONE or watch.error_code == "NOT_FOUND"
    return not gone and not (state is not None and state.ended)


@asynccontextmanager
async def _stopping(stop: asyncio.Event) -> AsyncIterator[asyncio.Task[bool]]:
    """The word to stop, as something to wait for beside other work."""
    stopping = asyncio.create_task(stop.wait())
    try:
        yield stopping
    finally:
        stopping.cancel()


async def _pause(seconds: float, stopping: asyncio.Task[bool], watch: Watch) -> None:
    await asyncio.wait({stopping}, timeout=max(0.0, seconds))
    if stopping.done():
        raise Stopped(watch)


async def _either(work: asyncio.Future[T], stopping: asyncio.Task[bool], watch: Watch) -> T:
    """The work's result, unless the word to stop comes first."""
    both: set[asyncio.Future[Any]] = {work, stopping}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        return work.result()
    work.cancel()
    raise Stopped(watch)
