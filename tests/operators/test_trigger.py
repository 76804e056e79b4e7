"""The trigger outside a triggerer: its arguments, its one event, and what a cancel does; against a local Batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from submitting import Told, script, submitted

from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.handover import from_event
from airflow_batchstream.core.jobs.model import Owner
from airflow_batchstream.core.jobs.outcome import result
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.emulator.testing import Local, running
from airflow_batchstream.services.hub import Subject
from airflow_batchstream.triggers import CloudBatchJobTrigger, uncancellable


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("trigger"), "--grace", "1") as one:
        yield one


class Log:
    """What Airflow would show."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def log(self, level: int, text: str, **fields: Any) -> None:
        self.texts.append(text)

    def _any(self, text: str, *args: Any, **fields: Any) -> None:
        self.texts.append(text % args if args else text)

    info = warning = error = exception = _any


def trigger_for(local: Local, sight: Any, **more: Any) -> CloudBatchJobTrigger:
    watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=0.3)
    subject = {"image": "i", "digest": "d", "streaming": True, "from_the_future": 1}
    trigger = CloudBatchJobTrigger(watch.as_dict(), Endpoint.local(local.address).as_dict(), subject, **more)
    trigger._log = Log()  # type: ignore[assignment]
    return trigger


async def job(local: Local, owner: Owner, text: str) -> Any:
    async with GoogleClients(Endpoint.local(local.address)) as clients:
        return (await submitted(clients, owner, script(text), Told())).sight


async def state(local: Local, name: Any) -> str:
    async with GoogleClients(Endpoint.local(local.address)) as clients:
        return str((await clients.get_job(name)).state)


def owner(name: str) -> Owner:
    return Owner(f"trigger-{name}", "r", "t", -1, 0, "")


class TestItsArguments:
    def test_survive_serialization(self):
        trigger = CloudBatchJobTrigger({"job": "x"}, {"emulator": "y"}, {"image": "z"}, "owner", False)
        path, arguments = trigger.serialize()
        assert path == f"{CloudBatchJobTrigger.__module__}.{CloudBatchJobTrigger.__qualname__}"
        assert CloudBatchJobTrigger(**arguments).serialize() == trigger.serialize()

    def test_of_a_newer_version_are_taken_and_kept(self):
        assert CloudBatchJobTrigger(watch={}, from_the_future=1).serialize()[1]["from_the_future"] == 1

    def test_of_an_older_version_may_be_missing(self):
        assert CloudBatchJobTrigger().serialize()[1]["cancel_on_kill"] is True

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ({"image": "i", "digest": "d", "streaming": True}, Subject("i", "d", True)),  # by 0.1
            ({"image": "i", "from_the_future": [1]}, Subject("i")),
            ({"compressed_bytes": None, "verdict": None}, Subject()),
            ({}, Subject()),
        ],
    )
    def test_about_the_image_may_be_another_version_s(self, written, read):
        assert Subject.from_dict(written) == read

    def test_about_the_image_come_back_whole(self):
        whole = Subject("i", "d", True, 9_800_000_000, "holds")
        assert Subject.from_dict(asdict(whole)) == whole

    @pytest.mark.parametrize(
        "broken", [{}, {"watch": {"job": "nonsense"}}, {"watch": {"job": 3}, "endpoint": {"poll": "x"}}]
    )
    def test_that_make_no_sense_are_an_event_and_never_an_exception(self, broken):
        trigger = CloudBatchJobTrigger(**broken)
        trigger._log = Log()  # type: ignore[assignment]

        async def events() -> list[Any]:
            return [event.payload async for event in trigger.run()]

        [event] = asyncio.run(asyncio.wait_for(events(), 60))
        assert event["error"]


class TestItsOneEvent:
    def test_tells_the_end_and_the_lines_were_shown(self, local):
        async def work() -> tuple[list[Any], Any]:
            trigger = trigger_for(local, await job(local, owner("event"), "echo hello; exit 3"))
            return [event.payload async for event in trigger.run()], trigger

        [event], trigger = asyncio.run(asyncio.wait_for(work(), 60))
        told = result(from_event(event["outcome"]))
        assert (told["state"], told["exit_codes"], told["digest"]) == ("FAILED", {"0": 3}, "d")
        assert "hello" in trigger._log.texts


class TestACancel:
    def test_without_a_task_to_ask_about_leaves_the_job_alone(self, local):
        """``dag.test()``, and a triggerer that shuts down."""

        async def work() -> str:
            sight = await job(local, owner("cancel"), "echo on; sleep 60")
            trigger = trigger_for(local, sight)

            async def consume() -> None:
                async for _ in trigger.run():
                    pass

            running = asyncio.create_task(consume())
            while "on" not in trigger._log.texts:  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            return await state(local, sight.name)

        assert asyncio.run(asyncio.wait_for(work(), 60)) == "RUNNING"

    def test_every_second_does_not_cut_off_what_must_be_done(self):
        done: list[str] = []

        async def slow() -> None:
            await asyncio.sleep(0.5)
            done.append("cancelled the job")

        async def work() -> None:
            task = asyncio.create_task(uncancellable(slow()))
            for _ in range(3):
                await asyncio.sleep(0.1)
                task.cancel()
            await task

        asyncio.run(work())
        assert done == ["cancelled the job"]
