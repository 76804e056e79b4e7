"""The wait for a job in the triggerer: a trigger carries a Watch, awaits its process's hub, and yields once.

Its arguments survive an upgrade: unknown ones are accepted, missing ones defaulted. ``__init__`` never raises, since
any exception in it kills the triggerer, and again after each restart.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_batchstream import connection, ownership
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ApiRefused, BatchStreamError, InvalidInput
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.handover import to_event
from airflow_batchstream.core.jobs.patience import backoff, worth_saying
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.services.hub import Hub, Subject
from airflow_batchstream.services.shared import shared_hub
from airflow_batchstream.tasklog import TaskLog

KILL_SECONDS = 25.0
"""A killed trigger is held back so long; Airflow gives ``on_kill`` thirty."""
ASK_SECONDS = 120.0
"""Longer than that: a triggerer's questions go one by one through its supervisor, which may be waiting for a busy
database. Whoever gets its answer late still cancels the job, as long as the triggerer lives."""
LEAST_SECONDS = 8.0
"""A trigger that fires before the scheduler has taken note of the deferral makes it fail the task, and a busy one takes
some seconds for that."""
CREDENTIALS_SECONDS = 300.0
"""So long a triggerer waits for credentials before it gives up: one that has just started may be quicker than the
machine's metadata server."""
HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")
"""Airflow 3.3 and later tell a trigger that a user killed its task; before, only a cancel does."""


class CloudBatchJobTrigger(BaseTrigger):
    """Wait for a Batch job's end, with its lines in the task log, and yield what became of it.

    :param watch: :meth:`~airflow_batchstream.core.jobs.watch.Watch.as_dict`: the job and all deadlines as instants.
    :param endpoint: :meth:`~airflow_batchstream.core.endpoint.Endpoint.as_dict`.
    :param subject: :class:`~airflow_batchstream.services.hub.Subject` as a dict: the image, for the result.
    :param owner: the attempt that deferred; a kill is told from a restart by it.
    :param cancel_on_kill: whether a user's kill cancels the job.
    """

    def __init__(
        self,
        watch: dict[str, Any] | None = None,
        endpoint: dict[str, Any] | None = None,
        subject: dict[str, Any] | None = None,
        owner: str = "",
        cancel_on_kill: bool = True,
        **newer: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch, self.endpoint, self.subject = watch or {}, endpoint or {}, subject or {}
        self.owner, self.cancel_on_kill, self.newer = owner, cancel_on_kill, newer

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The arguments, those of a newer version included."""
        return (
            "airflow_batchstream.triggers.CloudBatchJobTrigger",
            {
                **self.newer,
                "watch": self.watch,
                "endpoint": self.endpoint,
                "subject": self.subject,
                "owner": self.owner,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``{"outcome": ...}``, or ``{"error": ...}`` where the wait could not even begin."""
        try:
            event = await self._wait()
        except asyncio.CancelledError:
            if not HAS_ON_KILL:
                await uncancellable(self._cancel_if_killed())
            raise
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Airflow says that a user killed the task; it says so too when the trigger moves to another triggerer: ask."""
        await uncancellable(self._cancel_if_killed())

    async def _wait(self) -> dict[str, Any]:
        began = asyncio.get_running_loop().time()
        try:
            watch, endpoint = Watch.from_dict(self.watch), Endpoint.from_dict(self.endpoint)
            async with AsyncExitStack() as stack:
                hub = await self._hub(stack, endpoint)
                ended = await hub.watch(watch, TaskLog(self.log), Subject.from_dict(self.subject), asyncio.Event())
            event: dict[str, Any] = {"outcome": to_event(ended)}
        except BatchStreamError as e:
            event = {"error": _words(e), "watch": self.watch}
        except Exception as e:
            self.log.exception("The wait for the job cannot go on in the triggerer")
            event = {"error": f"{type(e).__name__}: {e}.", "watch": self.watch}
        await asyncio.sleep(max(0.0, began + LEAST_SECONDS - asyncio.get_running_loop().time()))
        return event

    async def _hub(self, stack: AsyncExitStack, endpoint: Endpoint) -> Hub:
        """The process's hub, once there are credentials for it: what is passing is waited out."""
        loop, tries = asyncio.get_running_loop(), 0
        give_up = loop.time() + CREDENTIALS_SECONDS
        while True:
            try:
                return await stack.enter_async_context(shared_hub(endpoint, functools.partial(_credentials, endpoint)))
            except ApiRefused as e:
                tries += 1
                pause, trouble = backoff(tries, random.random()), e
            if not trouble.retryable or loop.time() + pause > give_up:
                raise trouble
            if worth_saying(tries):
                self.log.warning("%s. Trying again; the job itself goes on.", str(trouble).rstrip("."))
            await asyncio.sleep(pause)

    async def _cancel_if_killed(self) -> None:
        """Cancel the job if a user killed the task; not for a restart, a move to another triggerer, or the unknown."""
        ti = self.task_instance
        if ti is None or not self.cancel_on_kill or self._timed_out():
            return
        watch, endpoint = Watch.from_dict(self.watch), Endpoint.from_dict(self.endpoint)
        claim = await ownership.ask_deferred(ti, self.owner, within=ASK_SECONDS)
        if claim is ownership.Claim.UNKNOWN:
            self.log.warning(
                "The wait was broken off, and Airflow could not be asked whether somebody killed the task: the job %s "
                "is not cancelled. %s",
                watch.job.job_id,
                watch.job.console_url,
            )
        if claim is not ownership.Claim.LOST:
            return
        try:
            async with shared_hub(endpoint, functools.partial(_credentials, endpoint)) as hub:
                request_id = identity.request_id(f"{watch.job}/cancel", self.owner)
                await hub.cancel_surely(watch.job, request_id)
        except Exception as e:  # nobody awaits this for its result
            self.log.error(
                "The task was killed, but the job %s could not be cancelled (%s). It lives on and costs money; this "
                "ends it: %s",
                watch.job.job_id,
                _words(e),
                watch.job.cancel_command,
            )
            return
        self.log.warning("The task was killed: the job %s is being cancelled.", watch.job.job_id)

    def _timed_out(self) -> bool:
        """Whether the deferral's own timeout ended the trigger: the worker is told, and cancels."""
        from datetime import UTC, datetime

        at = getattr(self, "timeout_after", None)
        return at is not None and (at if at.tzinfo else at.replace(tzinfo=UTC)) < datetime.now(UTC)


def _credentials(endpoint: Endpoint) -> Any:
    return connection.credentials(endpoint)[0]


def _words(error: Exception) -> str:
    """What is wrong, for who reads of it elsewhere: not that "the job was not submitted", since it was."""
    if not isinstance(error, InvalidInput):
        return str(error)
    found = " ".join(f"{finding.path}: {finding.says}" for finding in error.findings)
    return (
        f"{found} The triggerer reads the connection itself: one that comes from an environment variable or a secrets "
        "backend, and its key's file, have to be there for the triggerer as for workers."
    )


async def uncancellable(work: Coroutine[Any, Any, None], limit: float = KILL_SECONDS) -> None:
    """Do it to its end: every version of Airflow cancels a trigger again each second until it is gone."""
    doing = asyncio.ensure_future(work)
    _at_work.add(doing)
    doing.add_done_callback(_at_work.discard)
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not doing.done() and loop.time() < end:
        try:
            await asyncio.wait({doing}, timeout=end - loop.time())
        except asyncio.CancelledError:
            continue


_at_work: set[asyncio.Future[None]] = set()
