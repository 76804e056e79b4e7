"""From settings to an exit code: choose the runtime, serve, run the command of ``--exec`` beside it, stop both."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from airflow_batchstream.emulator.config import Config, environment

STOPPED_BY_SIGNAL = 128


def run(config: Config, command: str = "") -> int:
    """Serve until told to stop, or until ``command`` has ended; the process's exit code."""
    from airflow_batchstream.emulator.faults import FaultError
    from airflow_batchstream.emulator.server import CannotServe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_run(config, command))
    except CannotServe as error:
        print(error, file=sys.stderr)
    except FaultError as error:
        print(f"{config.faults}: {error}", file=sys.stderr)
    return 1


async def _run(config: Config, command: str) -> int:
    from airflow_batchstream.emulator.server import is_loopback, serve

    runtime = _runtime(config.runtime)
    if not is_loopback(config.host):
        _say(
            f"WARNING: {config.host} is not loopback. Everybody who reaches this port can run programs on this machine."
        )
    stop = asyncio.Event()
    outcome: list[asyncio.Task[int]] = []

    async def ready(address: str) -> None:
        print(f"ready {address}", flush=True)
        if command:
            outcome.append(asyncio.create_task(_exec(command, address, stop)))

    await serve(config, runtime, ready, stop)
    return await outcome[0] if outcome else 0


async def _exec(command: str, address: str, stop: asyncio.Event) -> int:
    """Run the command; when it has ended, stop the server, and the other way round."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, env=os.environ | environment(address), start_new_session=True
    )
    ended, told = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        _signal(process.pid, signal.SIGTERM)
        await asyncio.wait([ended], timeout=10)
    _signal(process.pid, signal.SIGKILL)  # what the command left behind in its group
    stop.set()
    told.cancel()
    code = await ended
    return code if code >= 0 else STOPPED_BY_SIGNAL - code


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _runtime(name: str) -> object:
    from airflow_batchstream.emulator.runtimes.process import ProcessRuntime

    return ProcessRuntime()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
