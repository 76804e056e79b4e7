"""From settings to an exit code: choose the runtime, serve, run the command of ``--exec`` beside it, stop both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping

from airflow_batchstream.emulator.config import Config, environment, tls_environment
from airflow_batchstream.emulator.faults import FaultError
from airflow_batchstream.emulator.runtimes.select import NoRuntimeError, choose
from airflow_batchstream.emulator.server import CannotServe, is_loopback, serve

BY_SIGNAL = 128
"""A command that a signal ended has this exit code plus the signal's number, as in a shell."""

STOP_SECONDS = 10.0
"""How long the command of ``--exec`` may take to end once it is told to."""


def run(config: Config, command: str = "", *, tls: bool = False) -> int:
    """Serve until told to stop, or until ``command`` has ended; the process's exit code.

    :param tls: whether the command gets the variables for programs that speak to Google only as well.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_run(config, command, tls))
    except (CannotServe, NoRuntimeError) as error:
        _say(str(error))
    except FaultError as error:
        _say(f"{config.faults}: {error}")
    return 1


async def _run(config: Config, command: str, tls: bool) -> int:
    choice = choose(config.runtime)
    for line in choice.says:
        _say(line)
    if not is_loopback(config.host):
        _say(f"WARNING: {config.host} is not loopback: whoever reaches this port can run programs on this machine.")
    stop = asyncio.Event()
    commands: list[asyncio.Task[int]] = []

    async def ready(address: str) -> None:
        sys.stdout.write(f"ready {address}\n")
        sys.stdout.flush()
        if command:
            more = tls_environment(address, config.state_dir) if tls else {}
            commands.append(asyncio.create_task(_exec(command, environment(address) | more, stop)))

    await serve(config, choice.runtime, ready, stop)
    return await commands[0] if commands else 0


async def _exec(command: str, variables: Mapping[str, str], stop: asyncio.Event) -> int:
    """Run the command in a group of its own; when it has ended, stop the server, and the other way round."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", command, env=os.environ | variables, start_new_session=True
    )
    ended, told = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        _signal(process.pid, signal.SIGTERM)
        await asyncio.wait([ended], timeout=STOP_SECONDS)
    _signal(process.pid, signal.SIGKILL)  # what the command left behind in its group
    code = await ended
    told.cancel()
    stop.set()
    return code if code >= 0 else BY_SIGNAL - code


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
