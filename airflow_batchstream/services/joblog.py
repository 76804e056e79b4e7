"""The log of one job, read while it runs: the plan (core) says which page next, this module asks for it.

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

from airflow_batchstream.core.jobs.lines import AGENT_LOG, LineLimit, at_least
from airflow_batchstream.core.jobs.log_filter import entries_filter
from airflow_batchstream.core.jobs.model import Line, Trouble
from airflow_batchstream.core.jobs.reads import Pass, ReadPlan, for_endpoint
from airflow_batchstream.core.jobs.times import ns
from airflow_batchstream.core.jobs.watch import News, Watch

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients

TAIL_LINES = 1000
"""Lines kept for the closing block: enough that a failed task's last words are among those of the others."""
TAIL_CHARS = 2000
AGENT_LINES = 30


class Emit(Protocol):
    """Where a wait says what happens. Called in a thread, in order."""

    def news(self, items: Iterable[News], /) -> None:
        """Status events, and words about the wait."""

    def lines(self, lines: Iterable[Line], /) -> None:
        """What containers printed."""


class JobLog:
    """Reads one job's log and hands over each line once, in the log's order.

    :param emit: takes the lines, in a thread: slow output slows this log down and nothing else.
    """

    def __init__(self, clients: GoogleClients, watch: Watch, emit: Emit) -> None:
        self.tail: deque[Line] = deque(maxlen=TAIL_LINES)
        self._clients, self._watch, self._emit = clients, watch, emit
        self._settings = for_endpoint(clients.endpoint)
        self._limit = LineLimit(watch.log_limit)
        now = time.time()
        self._plan = ReadPlan(self._settings, now)
        self._plan.add(watch.uid, watch.created or now, now)

    def ended(self, at: float, *, failed: bool) -> None:
        """The job has ended: :meth:`read` goes on until its log is complete."""
        self._plan.ended(self._watch.uid, at, failed=failed)

    async def read(self) -> None:
        """Read until the job has ended and its log is complete, or given up."""
        while not (self._plan.settled() or self._plan.unreadable(time.time())):
            chain = self._plan.next_read(time.time())
            if chain is None:
                await asyncio.sleep(min(1.0, self._settings.interval / 5))
            else:
                await self._page(chain)
                await self._say(logging.WARNING, [words for _, words in self._plan.lag_news(time.time())])
        words = self._limit.words(self._watch.job.project_id, self._watch.uid)
        await self._say(logging.WARNING, [words] if words else [])

    async def _page(self, chain: Pass) -> None:
        from airflow_batchstream.clients.google import CallFailed

        project = self._watch.job.project_id
        try:
            page = await self._clients.list_entries(
                [f"projects/{project}"], chain.filter(project, self._watch.log_severity), token=chain.token
            )
        except CallFailed as e:
            if self._plan.on_error(chain, e.trouble, time.time(), random.random()):
                await self._say(logging.WARNING, [_cannot_read(e.trouble, project)])
            return
        new = self._plan.on_page(chain, page.lines, page.token, time.time())
        shown = self._limit.take(at_least(new, self._watch.log_severity))
        self.tail.extend(replace(line, text=line.text[:TAIL_CHARS]) for line in new[-TAIL_LINES:])
        if shown:
            await asyncio.shield(asyncio.to_thread(self._emit.lines, shown))

    async def agent_tail(self) -> tuple[Line, ...]:
        """The last lines of Batch's agent, for a job whose containers printed nothing; oldest first."""
        from airflow_batchstream.clients.google import CallFailed

        project, floor = self._watch.job.project_id, ns((self._watch.created or time.time()) - 60)
        wanted = entries_filter(project, [self._watch.uid], floor, floor, log=AGENT_LOG)
        try:
            page = await self._clients.list_entries(
                [f"projects/{project}"], wanted, newest_first=True, size=AGENT_LINES
            )
        except CallFailed:
            return ()
        return tuple(reversed(page.lines))

    async def _say(self, level: int, texts: list[str]) -> None:
        if texts:
            await asyncio.to_thread(self._emit.news, [News(level, text) for text in texts])


def _cannot_read(trouble: Trouble, project: str) -> str:
    way_out = (
        f" Airflow's account needs roles/logging.viewer in project {project}."
        if trouble.code == "PERMISSION_DENIED"
        else ""
    )
    return (
        f"The job's log cannot be read ({trouble.code}: {trouble.message}).{way_out} The job goes on; reading is tried "
        "again until its end."
    )
