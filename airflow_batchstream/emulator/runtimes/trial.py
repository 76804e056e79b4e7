"""Really running ``true`` once: what every probe ends with."""

from __future__ import annotations

import marshal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

SECONDS = 20
"""A probe takes milliseconds; a machine under load gets this long."""


def run_true(command: Sequence[str], told: dict[str, Any] | None = None, pass_fds: Sequence[int] = ()) -> str:
    """Run a command that should do nothing: empty if it does, else what it said.

    :param told: the launcher's order, for its standard input.
    """
    with tempfile.TemporaryFile() as file:
        if told is not None:
            marshal.dump(told, file)
            file.seek(0)
        try:
            done = subprocess.run(
                command, stdin=file, capture_output=True, timeout=SECONDS, env={}, pass_fds=pass_fds, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} did not run `true` within {SECONDS} s"
        except OSError as error:
            return f"{command[0]} cannot be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().removeprefix("batchstream: ").splitlines()
    return said[-1] if said else f"{command[0]} ended with {done.returncode}"
