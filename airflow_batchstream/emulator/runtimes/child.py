"""A helper process with two pipes, in the event loop: what all runtimes that are programs share.

The loop reads a pipe only when it has data, at most 64 KiB at a time, and hands it on at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import IO

from airflow_batchstream.emulator.runtimes.base import Output

CHUNK = 1 << 16


class Child:
    """One started process. Must be made in a running loop whose thread outlives it (PR_SET_PDEATHSIG is a thread's).

    :param settled: is awaited when the process has ended, until all that it started has ended too.
    :param after: runs once, in a thread, when the output was delivered: the tidying up.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdout: Output,
        stderr: Output,
        stdin: IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        settled: Callable[[], Awaitable[None]] | None = None,
        after: Callable[[], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._broken: BaseException | None = None
        self._process = subprocess.Popen(
            argv,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,  # a Ctrl-C on the local Batch is for it alone
        )
        self.pid = self._process.pid
        self._outputs: dict[int, tuple[IO[bytes], Output]] = {}
        for pipe, output in ((self._process.stdout, stdout), (self._process.stderr, stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._outputs[pipe.fileno()] = (pipe, output)
            self._loop.add_reader(pipe.fileno(), self._read, pipe.fileno())
        self._ended = asyncio.ensure_future(self._follow(settled, after))

    async def ended(self) -> int:
        """The process's exit code, 128 + signal if one ended it, after all output and the tidying up.

        To cancel this wait leaves the process as it is.
        """
        return await asyncio.shield(self._ended)

    @property
    def done(self) -> bool:
        """Whether all of it is over."""
        return self._ended.done()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; harmless after its end."""
        if not self.done:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _follow(self, settled: Callable[[], Awaitable[None]] | None, after: Callable[[], object] | None) -> int:
        code = await self._exit_code()
        if settled is not None:
            await settled()
        for fd in list(self._outputs):
            await self._drain(fd)
        if after is not None:
            await asyncio.to_thread(after)
        if self._broken is not None:
            raise self._broken
        return code if code >= 0 else 128 - code

    async def _drain(self, fd: int) -> None:
        """Take what is left in a pipe whose writers are gone."""
        more = True
        while more:
            more = self._read(fd)
            await asyncio.sleep(0)  # others get their turn
        self._close(fd)

    async def _exit_code(self) -> int:
        try:
            fd = os.pidfd_open(self.pid)
        except OSError:  # a kernel before 5.3, or a sandbox without it
            return await asyncio.to_thread(self._process.wait)
        try:
            await readable(fd)
        finally:
            os.close(fd)
        return self._process.wait()

    def _read(self, fd: int) -> bool:
        """Hand on what one read gives; False when there is nothing now, or never again."""
        if fd not in self._outputs:
            return False
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close(fd)
            return False
        if self._broken is None:
            try:
                self._outputs[fd][1](data)
            except Exception as error:  # the pipe is read on, or the container would hang on a full one
                self._broken = error
        return True

    def _close(self, fd: int) -> None:
        if found := self._outputs.pop(fd, None):
            self._loop.remove_reader(fd)
            found[0].close()


async def readable(fd: int) -> None:
    """Wait until there is something to read; of a pidfd: until its process has ended."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(fd, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(fd)
