"""One attempt of one task: its runnables in order, each a process of this machine, and the exit code that comes out.

Rules of Batch kept here: a runnable that fails ends the task, but ``alwaysRun`` ones still run; failures do not count
where ``ignoreExitStatus`` is set, nor in the ``background``; the first error is the task's; a runnable or task over its
time ends as 50005.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.joblog import JobLog, LineSplitter
from airflow_batchstream.emulator.machine import GROUP
from airflow_batchstream.emulator.pulling import OWN, Images, ImageTrouble
from airflow_batchstream.emulator.recipe import Context, Recipe, recipe
from airflow_batchstream.emulator.runtimes.base import Container, Running, Runtime
from airflow_batchstream.emulator.runtimes.rootfs import remove_tree
from airflow_batchstream.emulator.store import Record

OVERTIME = 50005
NO_CONTAINER = 125
"""What ``docker run`` answers when it cannot get the image."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What tasks run on.

    :param scratch: folder for what containers write; each attempt has its own below.
    :param buckets: folder that stands for Cloud Storage, one folder a bucket.
    :param grace: seconds from TERM to KILL.
    """

    runtime: Runtime
    images: Images
    scratch: Path
    buckets: Path
    grace: float


class Attempt:
    """One attempt of one task.

    :param stop: set when the job is cancelled or deleted.
    """

    def __init__(self, machine: Machine, record: Record, index: int, log: JobLog, stop: asyncio.Event) -> None:
        job, spec = record.job, record.spec
        self.machine, self.log, self.stop, self.job_name = machine, log, stop, job.name
        self.group, self.index, self.attempt = spec.task_groups[0], index, job.tasks[index].attempt
        self.task_id = f"task/{job.uid}-{GROUP}-{index}/{self.attempt}/0"
        self.vm = _vm(job.uid, spec, job.name, index // (self.group.task_count_per_node or 1), self.attempt)
        self.folder = machine.scratch / f"{job.uid}-{index}-{self.attempt}"
        self.context = Context(
            job_uid=job.uid,
            index=index,
            attempt=self.attempt,
            group=self.group,
            folder=self.folder,
            buckets=machine.buckets,
        )
        seconds = self.group.task_spec.max_run_duration.ToTimedelta().total_seconds()
        self.deadline = time.monotonic() + seconds if seconds else float("inf")
        self._background: list[asyncio.Task[int]] = []
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Run the task; its exit code."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.log.agent(
                self.task_id, f"report agent state: state:AGENT_RUNNING instance:{self.vm} task_id:{self.task_id}"
            )
            code = await self._runnables()
            self.log.agent(
                self.task_id, f"Task {self.task_id} has ended with exit code {code}.", "ERROR" if code else "INFO"
            )
            return code
        except asyncio.CancelledError:  # this server is going down, or a fault took the VM away: no time for TERM
            for task in self._background:
                task.cancel()
            raise
        finally:
            await self._end_background()
            await asyncio.to_thread(remove_tree, self.folder)

    async def _runnables(self) -> int:
        failed = 0
        for position, runnable in enumerate(self.group.task_spec.runnables):
            if self.stop.is_set() or time.monotonic() >= self.deadline:
                break
            if failed and not runnable.always_run:
                continue
            if runnable.background:
                self._background.append(asyncio.create_task(self._runnable(position, runnable)))
                continue
            code = await self._runnable(position, runnable)
            if code and runnable.ignore_exit_status and code != OVERTIME:
                self.log.agent(self.task_id, f"Exit code {code} of runnable {position} is ignored.")
            elif code and not failed:
                failed = code
        if not failed and time.monotonic() >= self.deadline and not self.stop.is_set():
            failed = OVERTIME
        return failed

    async def _end_background(self) -> None:
        """Background runnables end a short time after the last other one."""
        self._stopping.set()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _runnable(self, position: int, runnable: Any) -> int:
        name = f"runnable {position}" + (f" ({runnable.display_name})" if runnable.display_name else "")
        try:
            made = await self._recipe(position, runnable)
        except ImageTrouble as trouble:
            for line in trouble.lines:
                self.log.agent(self.task_id, line, "ERROR")
            return NO_CONTAINER
        self.log.agent(self.task_id, f"Executing {name} of {self.task_id}: {made.says}")
        seconds = runnable.timeout.ToTimedelta().total_seconds()
        deadline = min(self.deadline, time.monotonic() + seconds if seconds else float("inf"))
        code = await self._container(position, made.container, deadline, runnable.background)
        self.log.agent(
            self.task_id, f"{name[0].upper()}{name[1:]} exited with code {code}.", "ERROR" if code else "INFO"
        )
        return code

    async def _recipe(self, position: int, runnable: Any) -> Recipe:
        bundle = None
        if runnable.WhichOneof("executable") == "container":
            uri, started = runnable.container.image_uri, time.monotonic()
            arrival = await self.machine.images.get(uri, streaming=runnable.container.enable_image_streaming)
            for line in arrival.lines:
                self.log.agent(self.task_id, line)
            bundle, took = arrival.bundle, time.monotonic() - started
            self.log.agent(self.task_id, f"{OWN} Image {uri} is {bundle.digest}, ready in {took:.2f} s")
            for note in bundle.notes:
                self.log.agent(self.task_id, f"Image {uri}: {note}", "WARNING")
        return recipe(self.context, position, runnable, bundle)

    async def _container(self, position: int, container: Container, deadline: float, background: bool) -> int:
        """Run one process to its end, or to its deadline, or until the job is to stop."""
        write = partial(self.log.task_line, self.task_id, position)
        out, err = LineSplitter(partial(write, "INFO")), LineSplitter(partial(write, "ERROR"))
        scratch = self.folder / f"runnable-{position}"
        scratch.mkdir(exist_ok=True)
        running = await self.machine.runtime.start(container, scratch, out.feed, err.feed)
        for notice in running.notices:
            self.log.agent(self.task_id, notice, "WARNING")
        waiting = asyncio.create_task(running.wait())
        try:
            overtime = await self._wait(waiting, running, deadline, background)
            code = await waiting
        finally:
            if not waiting.done():  # this server is going down
                running.kill()
                await asyncio.gather(waiting, return_exceptions=True)
            out.close()
            err.close()
        if overtime:
            self.log.agent(
                self.task_id, f"Runnable {position} ran over its time and was ended: exit code {OVERTIME}.", "ERROR"
            )
            return OVERTIME
        return code

    async def _wait(self, waiting: asyncio.Task[int], running: Running, deadline: float, background: bool) -> bool:
        """Wait for the process; whether it had to be ended because its time was over."""
        stops = [asyncio.create_task(self.stop.wait())]
        if background:
            stops.append(asyncio.create_task(self._stopping.wait()))
        try:
            left = None if deadline == float("inf") else max(0.0, deadline - time.monotonic())
            await _first([waiting, *stops], left)
            if waiting.done():
                return False
            overtime = not any(s.done() for s in stops)
            running.terminate()
            await _first([waiting], self.machine.grace)
            if not waiting.done():
                running.kill()
            return overtime
        finally:
            for s in stops:
                s.cancel()


async def _first(tasks: Sequence[asyncio.Task[Any]], seconds: float | None) -> None:
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


def _vm(uid: str, spec: Any, name: str, node: int, attempt: int) -> str:
    """A VM's name as Batch writes it in status events. The number is made up, but the same for the same VM."""
    region = name.split("/")[3]
    zones = [
        loc.removeprefix("zones/")
        for loc in spec.allocation_policy.location.allowed_locations
        if loc.startswith("zones/")
    ]
    number = zlib.crc32(f"{uid} {node} {attempt}".encode()) + 10**18
    return f"zones/{zones[0] if zones else f'{region}-a'}/instances/{number}"
