"""The logs of many jobs, read with one quota: the plan (core) says which page next, this module asks for it.

One reader for each project, shared by all jobs of a hub; each job has a :class:`Subscription`, a queue of what is new.
A reader runs in a task of its own with a clean context, else its own words would go into the task log of the trigger
that happened to start it. Whoever subscribes shows the lines itself; one that is slow is read no further until it has
caught up, and delays nobody else.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_batchstream.core.jobs.lines import SEVERITIES
from airflow_batchstream.core.jobs.model import Line, Trouble
from airflow_batchstream.core.jobs.reads import Allowance, Pass, ReadPlan, for_endpoint

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients

HOLD_LINES = 5_000
"""Lines that wait to be shown above which a job's log is read no further."""


@dataclass(frozen=True, slots=True)
class Words:
    """Something to tell a job's user about its log."""

    text: str


@dataclass(frozen=True, slots=True)
class Complete:
    """All of the job's log was handed over, or it was given up."""


Item = list[Line] | Words | Complete | BaseException


@dataclass(slots=True)
class Subscription:
    """One job's share of the reader.

    :param severity: the lowest that its user wants; empty for all.
    :param queue: batches of new lines, in the log's order; an exception if the reader broke.
    """

    uid: str
    severity: str
    queue: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    waiting: int = 0


class LogReader:
    """Reads the logs of one project's jobs in one event loop, each job for one subscriber.

    :param allowance: shared by all readers of a project.
    """

    def __init__(self, clients: GoogleClients, project_id: str, allowance: Allowance | None = None) -> None:
        self._clients, self._project = clients, project_id
        self._settings = for_endpoint(clients.endpoint)
        self._plan = ReadPlan(self._settings, time.time(), allowance)
        self._subscriptions: dict[str, Subscription] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def allowance(self) -> Allowance:
        """What the reads are paid from."""
        return self._plan.allowance

    def has(self, uid: str) -> bool:
        """Whether somebody reads this job's log here already."""
        return uid in self._subscriptions

    def subscribe(self, uid: str, created: float, severity: str = "") -> Subscription:
        """Read a job's log from its creation on.

        :param severity: the lowest that is wanted; empty for all. Other jobs of the reader may want more.
        """
        subscription = self._subscriptions[uid] = Subscription(uid, severity)
        now = time.time()
        self._plan.add(uid, created or now, now)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=f"logs of {self._project}", context=contextvars.Context()
            )
        return subscription

    def unsubscribe(self, uid: str) -> None:
        """Read it no more. Awaits nothing, so that a cancelled trigger can call it."""
        self._subscriptions.pop(uid, None)
        self._plan.remove(uid)
        if not self._subscriptions and self._task:
            self._task.cancel()
            self._task = None

    def ended(self, uid: str, at: float, *, failed: bool) -> None:
        """The job has ended: its log is read until it is complete, then its queue gets :class:`Complete`."""
        self._plan.ended(uid, at, failed=failed)

    def taken(self, subscription: Subscription, lines: int) -> None:
        """So many lines were shown."""
        subscription.waiting -= lines
        if subscription.waiting <= HOLD_LINES / 2:
            self._plan.hold(subscription.uid, False)

    async def _run(self) -> None:
        try:
            while True:
                for uid in (*self._plan.settled(), *self._plan.unreadable(time.time())):
                    self._put(uid, Complete())
                    self._plan.remove(uid)
                chain = self._plan.next_read(time.time())
                if chain is None:
                    await asyncio.sleep(min(1.0, self._settings.interval / 5))
                else:
                    await self._page(chain)
                for uid, words in self._plan.lag_news(time.time()):
                    self._put(uid, Words(words))
        except Exception as e:  # nobody awaits this task: tell every subscriber
            for uid in self._subscriptions:
                self._put(uid, e)

    async def _page(self, chain: Pass) -> None:
        from airflow_batchstream.clients.google import CallFailed

        wanted = chain.filter(self._project, self._severity(chain))
        try:
            page = await self._clients.list_entries([f"projects/{self._project}"], wanted, token=chain.token)
        except CallFailed as e:
            for uid in self._plan.on_error(chain, e.trouble, time.time(), random.random()):
                self._put(uid, Words(_cannot_read(e.trouble, self._project)))
            return
        batches: dict[str, list[Line]] = {}
        for line in self._plan.on_page(chain, page.lines, page.token, time.time()):
            batches.setdefault(line.uid, []).append(line)
        for uid, lines in batches.items():
            self._put(uid, lines)

    def _severity(self, chain: Pass) -> str:
        """The lowest that any of the chain's jobs wants."""
        wanted = [self._subscriptions[uid].severity for uid in chain.uids if uid in self._subscriptions]
        return min(wanted, key=lambda name: SEVERITIES.get(name, 0), default="")

    def _put(self, uid: str, item: Item) -> None:
        subscription = self._subscriptions.get(uid)
        if subscription is None:
            return
        subscription.queue.put_nowait(item)
        if isinstance(item, list):
            subscription.waiting += len(item)
            if subscription.waiting > HOLD_LINES:
                self._plan.hold(uid, True)


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
