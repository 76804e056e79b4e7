"""A trigger that is told of a kill: what it does with each answer to "is this attempt still mine?".

Airflow's answers are stood in for; the whole way is in tests/airflow/test_kills.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from submitting import Told, script, submitted

from airflow_batchstream import ownership, triggers
from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import Owner
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.emulator.testing import Local, running
from airflow_batchstream.ownership import Claim
from airflow_batchstream.triggers import CloudBatchJobTrigger, uncancellable


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("kill"), "--grace", "1") as one:
        yield one


class Trigger(CloudBatchJobTrigger):
    """One that belongs to a task, as in a triggerer, and whose words can be read."""

    task_instance = None  # a property in Airflow 3.3, an attribute in 3.1

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.__dict__["task_instance"] = SimpleNamespace(dag_id="d")
        self.words: list[str] = []
        self._log = SimpleNamespace(warning=lambda text, *args: self.words.append(text % args))  # type: ignore[assignment]


def killed(local: Local, monkeypatch: pytest.MonkeyPatch, answer: Claim, **arguments: Any) -> tuple[str, list[str]]:
    """The job's state after the kill, and what the trigger said."""

    async def ask(*_: Any, within: float) -> Claim:
        return answer

    async def work() -> tuple[str, list[str]]:
        endpoint = Endpoint.local(local.address)
        owner = Owner(f"kill-{answer.value}-{arguments}", "r", "t", -1, 0, "")
        async with GoogleClients(endpoint) as clients:
            sight = (await submitted(clients, owner, script("sleep 60"), Told())).sight
            watch = Watch(sight.name, sight.uid, sight.created)
            trigger = Trigger(watch=watch.as_dict(), endpoint=endpoint.as_dict(), **arguments)
            await trigger.on_kill()
            return str((await clients.get_job(sight.name)).state), trigger.words

    monkeypatch.setattr(ownership, "ask_deferred", ask)
    return asyncio.run(asyncio.wait_for(work(), 60))


class TestAnAnswer:
    def test_that_the_attempt_is_lost_cancels_the_job(self, local, monkeypatch):
        state, words = killed(local, monkeypatch, Claim.LOST)
        assert state in ("CANCELLATION_IN_PROGRESS", "CANCELLED")
        assert "is being cancelled" in words[0]

    def test_that_it_still_counts_changes_nothing(self, local, monkeypatch):
        state, words = killed(local, monkeypatch, Claim.MINE)
        assert state in ("QUEUED", "SCHEDULED", "RUNNING")
        assert words == []

    def test_that_does_not_come_is_said_and_cancels_nothing(self, local, monkeypatch):
        state, words = killed(local, monkeypatch, Claim.UNKNOWN)
        assert state in ("QUEUED", "SCHEDULED", "RUNNING")
        assert "is not cancelled" in words[0]

    def test_is_not_asked_for_where_a_kill_may_not_cancel(self, local, monkeypatch):
        state, words = killed(local, monkeypatch, Claim.LOST, cancel_on_kill=False)
        assert state in ("QUEUED", "SCHEDULED", "RUNNING")
        assert words == []


class TestALateAnswer:
    def test_is_acted_on_when_airflow_has_stopped_waiting(self):
        done: list[str] = []

        async def slow() -> None:
            await asyncio.sleep(0.3)
            done.append("cancelled the job")

        async def work() -> list[str]:
            await uncancellable(slow(), limit=0.1)
            early = list(done)
            await asyncio.sleep(0.4)
            return early

        assert asyncio.run(work()) == []
        assert done == ["cancelled the job"]

    def test_may_take_longer_than_airflow_waits(self):
        assert triggers.ASK_SECONDS > triggers.KILL_SECONDS
