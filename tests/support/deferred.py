"""A deferred wait without an Airflow: a real trigger in this process, and the worker's end of the same task.

Batch is real (the local one); only the task instance is stood in for, as far as ``execute_complete`` asks it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from submitting import Told, script, submitted

from airflow_batchstream import triggers
from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import Owner, Sight
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.emulator.testing import Local
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.triggers import CloudBatchJobTrigger


class Log:
    """The task log: containers' lines, and what the trigger says, each with its level's number."""

    def __init__(self) -> None:
        self.printed: list[tuple[int, str]] = []
        self.said: list[tuple[int, str]] = []
        self.at: list[str] = []

    def log(self, level: int, text: str, **fields: Any) -> None:
        if str(fields.get("logger", "")).startswith("batch.group"):
            self.printed.append((level, text))
            self.at.append(fields["timestamp"])
        else:
            self.said.append((level, text))

    def info(self, text: str, *args: Any) -> None:
        self.log(20, text % args if args else text)

    def warning(self, text: str, *args: Any) -> None:
        self.log(30, text % args if args else text)

    def error(self, text: str, *args: Any) -> None:
        self.log(40, text % args if args else text)

    exception = error

    @property
    def lines(self) -> list[str]:
        """What containers printed."""
        return [text for _, text in self.printed]

    @property
    def warnings(self) -> str:
        """What it says in warnings and errors, a line each."""
        return "\n".join(text for level, text in self.said if level >= 30)


@dataclass
class Wait:
    """One deferred task: its job, its trigger, its log."""

    endpoint: Endpoint
    sight: Sight
    trigger: CloudBatchJobTrigger
    log: Log = field(default_factory=Log)
    events: list[Any] = field(default_factory=list)

    async def run(self) -> Mapping[str, Any]:
        """The trigger's one event."""
        self.trigger._log = self.log  # type: ignore[assignment]
        self.events += [event.payload async for event in self.trigger.run()]
        [event] = self.events
        assert isinstance(event, dict)
        return event

    def conclude(self) -> Any:
        """What the worker makes of the event: the task's result, or the error that it fails with."""
        return self._operator().execute_complete(self._context(), self.events[0])

    def overdue(self) -> None:
        """The worker gets the task back since no event came in time."""
        self._operator().resume_execution("__fail__", {"error": "Trigger timeout"}, self._context())

    @staticmethod
    def _operator() -> CloudBatchStreamingJobOperator:
        return CloudBatchStreamingJobOperator(
            task_id="job", image_uri="us-docker.pkg.dev/p/r/i:1", project_id="p", region="us-central1", commands=["x"]
        )

    def _context(self) -> dict[str, Any]:
        pushed: dict[str, Any] = {"batch_job": {"name": str(self.sight.name)}}
        ti = SimpleNamespace(
            id="attempt",
            task_id="job",
            map_index=-1,
            xcom_pull=lambda key, **_: pushed.get(key),
            xcom_push=lambda key, value: pushed.update({key: value}),
        )
        return {"ti": ti}


async def deferred(endpoint: Endpoint, name: str, text: str, clients: GoogleClients, **watch: Any) -> Wait:
    """A job of a script, and the trigger that waits for it.

    :param watch: other than the usual of :class:`Watch`; instants count from the job's creation.
    """
    owner = Owner(name, "r", "t", -1, 0, "")
    sight = (await submitted(clients, owner, script(text), Told())).sight
    return again(endpoint, sight, **watch)


def again(endpoint: Endpoint, sight: Sight, **watch: Any) -> Wait:
    """Another trigger for the same job."""
    instants = {key: sight.created + value for key, value in watch.items() if key in ("timeout_at", "queued_until")}
    wait = Watch(sight.name, sight.uid, sight.created, poll_seconds=0.3)
    wait = replace(wait, **(watch | instants))
    return Wait(endpoint, sight, CloudBatchJobTrigger(wait.as_dict(), endpoint.as_dict(), {"image": "i"}))


async def until_line(wait: Wait, text: str) -> None:
    """Wait until a container's line is in the task log."""
    while text not in wait.log.lines:  # noqa: ASYNC110 - lines are logged from a thread
        await asyncio.sleep(0.05)


def in_loop(work: Callable[[], Awaitable[Any]], within: float = 60.0) -> Any:
    """Run it to its end."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work(), within)

    return asyncio.run(bounded())


@contextmanager
def at_once() -> Iterator[None]:
    """A trigger that need not spare the scheduler: there is none."""
    was, triggers.LEAST_SECONDS = triggers.LEAST_SECONDS, 0.0
    try:
        yield
    finally:
        triggers.LEAST_SECONDS = was


def one_instant(local: Local, word: str) -> None:
    """From now on the lines that begin with a word bear one time, to the nanosecond, whatever the machine's speed.

    The local Batch never gives two lines one instant, as Cloud Logging may: so its database does.
    """
    at = "(NEW.at / 60000000000) * 60000000000"
    with sqlite3.connect(local.state_dir / "entries.sqlite", timeout=10) as database:
        database.execute(
            f"CREATE TRIGGER one_instant AFTER INSERT ON entries WHEN NEW.text LIKE '{word}%' "
            f"BEGIN UPDATE entries SET at = {at} WHERE seq = NEW.seq; END"
        )
