"""Many waits in one event loop share a hub: its clients, its reader of logs, and nobody's slowness."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from submitting import Told, script, submitted

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.outcome import finish
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.services import shared
from airflow_batchstream.services.hub import Subject
from airflow_batchstream.services.shared import shared_hub


async def wait_for(endpoint: Endpoint, sight: Any, told: Any) -> Any:
    """What a trigger does."""
    async with shared_hub(endpoint, lambda: None) as hub:
        watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=0.5)
        return await hub.watch(watch, told, Subject(), asyncio.Event())


@pytest.fixture
def endpoint(local) -> Endpoint:
    return Endpoint.local(local.address)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 120))


class Slow(Told):
    """Shows a batch of lines as slowly as a busy disk."""

    def lines(self, lines: Any) -> None:
        time.sleep(0.5)
        super().lines(lines)


def test_all_waits_of_a_loop_share_one_client(endpoint):
    async def work() -> list[Any]:
        async with shared_hub(endpoint, lambda: None) as one, shared_hub(endpoint, lambda: None) as other:
            return [one, other]

    one, other = run(work())
    assert one is other


def test_two_hundred_waits_that_begin_at_once_ask_for_credentials_once(endpoint):
    asked = []

    def credentials() -> None:
        asked.append(time.monotonic())
        time.sleep(0.1)

    async def one() -> Any:
        async with shared_hub(endpoint, credentials) as hub:
            await asyncio.sleep(0.1)  # as a wait does
            return hub

    async def work() -> list[Any]:
        return await asyncio.gather(*(one() for _ in range(200)))

    assert len(set(run(work()))) == 1
    assert len(asked) == 1
    assert not shared._hubs
    assert not shared._opening


def test_credentials_that_cannot_be_had_fail_all_who_wait_for_them_and_the_next_asks_again(endpoint):
    answers = [OSError("no key"), None]

    def credentials() -> None:
        if answer := answers.pop(0):
            raise answer

    async def one() -> Any:
        async with shared_hub(endpoint, credentials) as hub:
            return hub

    async def work() -> list[Any]:
        failed = await asyncio.gather(one(), one(), return_exceptions=True)
        return [*failed, await one()]

    first, second, third = run(work())
    assert str(first) == str(second) == "no key"
    assert third.clients


def test_the_hub_is_closed_after_the_last_and_made_anew_for_the_next(endpoint):
    async def work() -> list[Any]:
        hubs = []
        for _ in range(2):
            async with shared_hub(endpoint, lambda: None) as hub:
                hubs.append(hub)
            assert not shared._hubs
        await asyncio.sleep(0)
        return hubs

    first, second = run(work())
    assert first is not second


def test_a_chatty_and_a_slow_job_delay_no_other(endpoint, local, owner):
    quiet = [(script("echo begin; sleep 3; echo end"), Told()) for _ in range(12)]
    chatty = (script("i=0; while [ $i -lt 6000 ]; do echo $i; i=$((i+1)); done"), Told())
    slow = (script("for i in $(seq 30); do echo $i; sleep 0.1; done"), Slow())

    async def work() -> list[Any]:
        async with shared_hub(endpoint, lambda: None) as hub:
            jobs = [
                (await submitted(hub.clients, owner, job, told, job_id=f"{owner.dag_id}-{n}", salt=str(n)), told)
                for n, (job, told) in enumerate([chatty, slow, *quiet])
            ]
        return await asyncio.gather(*(wait_for(endpoint, found.sight, told) for found, told in jobs))

    for ended in run(work()):
        assert finish(ended)["state"] == "SUCCEEDED"
    assert chatty[1].texts == [str(n) for n in range(6000)]
    assert slow[1].texts == [str(n) for n in range(1, 31)]
    for _, told in quiet:
        assert told.texts == ["begin", "end"]


def test_a_wait_that_is_cancelled_takes_nothing_from_the_others(endpoint, local, owner):
    stays, goes = Told(), Told()
    job = script("for i in $(seq 20); do echo $i; sleep 0.2; done")

    async def work() -> Any:
        async with shared_hub(endpoint, lambda: None) as hub:
            first, second = [
                (await submitted(hub.clients, owner, job, stays, job_id=f"{owner.dag_id}-{n}", salt=str(n))).sight
                for n in "ab"
            ]
        leaving = asyncio.create_task(wait_for(endpoint, first, goes))  # it starts the reader
        staying = asyncio.create_task(wait_for(endpoint, second, stays))
        while not goes.printed:  # noqa: ASYNC110 - lines are told from a thread
            await asyncio.sleep(0.05)
        leaving.cancel()
        return await staying

    assert finish(run(work()))["state"] == "SUCCEEDED"
    assert stays.texts == [str(n) for n in range(1, 21)]


def test_two_waits_for_one_job_both_show_all_of_it(endpoint, local, owner):
    one, other = Told(), Told()

    async def work() -> list[Any]:
        async with shared_hub(endpoint, lambda: None) as hub:
            sight = (await submitted(hub.clients, owner, script("seq 100; sleep 2; echo end"), one)).sight
        return await asyncio.gather(wait_for(endpoint, sight, one), wait_for(endpoint, sight, other))

    for ended in run(work()):
        assert finish(ended)["state"] == "SUCCEEDED"
    assert one.texts == other.texts == [*map(str, range(1, 101)), "end"]


def test_a_reader_that_breaks_ends_no_wait(endpoint, local, owner, told, monkeypatch):
    from airflow_batchstream.services.logreader import LogReader

    async def broken(self: Any, chain: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(LogReader, "_page", broken)

    async def work() -> Any:
        async with shared_hub(endpoint, lambda: None) as hub:
            sight = (await submitted(hub.clients, owner, script("echo x; sleep 1"), told)).sight
            return await wait_for(endpoint, sight, told)

    assert finish(run(work()))["state"] == "SUCCEEDED"
    assert "not read any more" in told.warnings
