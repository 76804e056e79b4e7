"""The log of one job, handed over while it runs.

What is promised: no line that Cloud Logging shows within the endpoint's bound is lost or doubled. A log that cannot be
read is said once and never fails a task.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from airflow_batchstream.core.jobs.first_line import FirstLine
from airflow_batchstream.core.jobs.lines import AGENT_LOG, LineLimit, at_least
from airflow_batchstream.core.jobs.log_filter import entries_filter
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.streamed import pull_filter
from airflow_batchstream.core.jobs.times import ns
from airflow_batchstream.core.jobs.watch import News, Watch
from airflow_batchstream.services.logreader import Complete, LogReader, Words

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients

TAIL_LINES = 1000
"""Lines kept for the closing block: enough that a failed task's last words are among those of the others."""
TAIL_CHARS = 2000
AGENT_LINES = 30
PULL_LINES = 50
"""Lines of the agent about pulls that are looked at, the oldest: the first VM's."""
PULL_SECONDS = 2.0
"""So long, at most, the end of a task is held back by the question how its image came."""


class Emit(Protocol):
    """Where a wait says what happens. Called in a thread, in order."""

    def news(self, items: Iterable[News], /) -> None:
        """Status events, and words about the wait."""

    def lines(self, lines: Iterable[Line], /) -> None:
        """What containers printed."""


class JobLog:
    """Shows one job's log, each line once, in the log's order.

    :param emit: takes the lines, in a thread: slow output slows this log down and nothing else.
    """

    def __init__(self, reader: LogReader, watch: Watch, emit: Emit) -> None:
        self.tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self._reader, self._watch, self._emit = reader, watch, emit
        self._limit = LineLimit(watch.log_limit)
        self._subscription = reader.subscribe(watch.uid, watch.created, watch.log_severity)
        self._showing: asyncio.Task[None] | None = None
        self._first = FirstLine()

    @property
    def first_at(self) -> float | None:
        """When a container first printed: :class:`FirstLine`."""
        return self._first.at

    def begin(self) -> None:
        """Show what is read from now on."""
        self._showing = asyncio.create_task(self._show(), name=f"log of {self._watch.job.job_id}")

    def ended(self, at: float, *, failed: bool) -> None:
        """The job has ended; :meth:`complete` waits for the rest of its log."""
        self._reader.ended(self._watch.uid, at, failed=failed)

    async def complete(self) -> None:
        """Wait until the log of an ended job is shown whole, or given up."""
        if self._showing:
            await asyncio.shield(self._showing)

    def close(self) -> None:
        """Read it no more. Awaits nothing: a cancelled trigger comes here too."""
        self._reader.unsubscribe(self._watch.uid)
        if self._showing:
            self._showing.cancel()

    async def _show(self) -> None:
        """Show what is read, until the job has ended and its log is complete, or given up."""
        while True:
            item = await self._subscription.queue.get()
            if isinstance(item, Complete):
                break
            if isinstance(item, Words):
                await self._say(logging.WARNING, item.text)
            elif isinstance(item, BaseException):
                await self._say(logging.WARNING, f"The job's log is not read any more: {item!r}. The job goes on.")
                return
            else:
                await self._lines(item)
        if words := self._limit.words(self._watch.job.project_id, self._watch.uid):
            await self._say(logging.WARNING, words)

    async def _lines(self, new: list[Line]) -> None:
        shown = self._limit.take(at_least(new, self._watch.log_severity))
        self._first.take(new)
        self.tail.extend(replace(line, text=line.text[:TAIL_CHARS]) for line in new[-TAIL_LINES:])
        if shown:
            # A cancel must not lose what was taken from the queue.
            await asyncio.shield(asyncio.to_thread(self._emit.lines, shown))
        self._reader.taken(self._subscription, len(new))

    async def pulls(self, clients: GoogleClients) -> tuple[str, ...]:
        """What Docker and the agent told of pulls: one read of the agent's log, if the reads can spare it soon."""
        from airflow_batchstream.clients.google import CallFailed

        told = tuple(self._first.by_docker)
        try:
            return (*told, *await asyncio.wait_for(self._agents_pulls(clients), PULL_SECONDS))
        except TimeoutError:
            return told
        except CallFailed as e:
            if e.trouble.code == "RESOURCE_EXHAUSTED":
                self._reader.allowance.throttled(time.time(), random.random(), e.trouble.retry_after)
            return told
        except Exception as e:  # whatever it is: a question aside must not take the result of a job along
            await self._say(logging.INFO, f"Whether the image was pulled could not be asked: {e!r}.")
            return told

    async def _agents_pulls(self, clients: GoogleClients) -> list[str]:
        while not self._reader.allowance.spare(time.time()):  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(PULL_SECONDS / 10)
        project, floor = self._watch.job.project_id, ns((self._watch.created or time.time()) - 60)
        wanted = entries_filter(project, [self._watch.uid], floor, floor, log=AGENT_LOG)
        page = await clients.list_entries([f"projects/{project}"], f"{wanted} AND {pull_filter()}", size=PULL_LINES)
        return [line.text for line in page.lines]

    async def _say(self, level: int, text: str) -> None:
        await asyncio.to_thread(self._emit.news, [News(level, text)])


async def agent_tail(clients: GoogleClients, watch: Watch) -> tuple[Line, ...]:
    """The last lines of Batch's agent, for a job whose containers printed nothing; oldest first."""
    from airflow_batchstream.clients.google import CallFailed

    project, floor = watch.job.project_id, ns((watch.created or time.time()) - 60)
    wanted = entries_filter(project, [watch.uid], floor, floor, log=AGENT_LOG)
    try:
        page = await clients.list_entries([f"projects/{project}"], wanted, newest_first=True, size=AGENT_LINES)
    except CallFailed:
        return ()
    return tuple(reversed(page.lines))
