"""Starts :mod:`.launcher` for a container, and is its hands: what both the namespace and the process runtime return."""

from __future__ import annotations

import marshal
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.runtimes.base import DEFAULT_PATH, Output
from airflow_batchstream.emulator.runtimes.child import Child

COMMAND = (sys.executable, "-I", "-S", "-X", "utf8", str(Path(__file__).with_name("launcher.py")))


def order(
    argv: list[str], env: Mapping[str, str], cwd: str, home: str = "/", isolate: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What the launcher is told.

    :param isolate: what the launcher's function ``isolated`` reads; None for a supervised process.
    """
    full = {"PATH": DEFAULT_PATH, "HOME": home, **env}
    return {"argv": argv, "env": full, "cwd": cwd, "parent": os.getpid(), "isolate": isolate}


class Launched:
    """A container under the launcher.

    :param after: the tidying up; runs in a thread when all of its processes are gone.
    """

    def __init__(
        self,
        told: dict[str, Any],
        stdout: Output,
        stderr: Output,
        *,
        notices: tuple[str, ...] = (),
        after: Callable[[], object] | None = None,
    ) -> None:
        self.notices = notices
        with tempfile.TemporaryFile() as file:
            marshal.dump(told, file)
            file.seek(0)
            self._child = Child(COMMAND, stdout=stdout, stderr=stderr, stdin=file, env={}, after=after)
        self.pid = self._child.pid
        self._killed = False

    async def wait(self) -> int:
        """Its exit code; see :class:`.base.Running`."""
        code = await self._child.ended()
        if self._killed and code == 128 + signal.SIGUSR1:  # the launcher had not come to listen for it yet
            return 128 + signal.SIGKILL
        return code

    def terminate(self) -> None:
        """The launcher passes it on to the command alone."""
        self._child.signal(signal.SIGTERM)

    def kill(self) -> None:
        """The launcher ends the whole tree, and itself when that is done."""
        self._killed = True
        self._child.signal(signal.SIGUSR1)
