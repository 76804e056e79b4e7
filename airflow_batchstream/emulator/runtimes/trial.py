"""Really running ``true`` once, and what a machine says when that fails: the end of every probe."""

from __future__ import annotations

import marshal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.runtimes.base import Mount

SECONDS = 20
"""A probe takes milliseconds; a machine under load gets this long."""
PROGRAM_FOLDERS = (
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "usr",
    "etc/alternatives",
    "nix/store",
    "gnu/store",
)


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


def machine_mounts() -> tuple[Mount, ...]:
    """This machine's programs and libraries, for an empty root in which its ``true`` shall run."""
    folders = [Path("/", name) for name in PROGRAM_FOLDERS]
    return tuple(Mount(folder.resolve(), str(folder), read_only=True) for folder in folders if folder.is_dir())


def reason_of_refusal() -> str:
    """What this machine's settings say about user namespaces, as a half sentence; empty if nothing forbids them."""
    reasons = []
    for path, forbids, means in (
        ("/proc/sys/user/max_user_namespaces", "0", "no user namespaces are allowed"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "they are for root alone"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor takes their rights away"),
    ):
        try:
            value = Path(path).read_text().strip()
        except OSError:
            continue
        if value == forbids:
            reasons.append(f"{path} is {value}: {means}")
    if not reasons and Path("/.dockerenv").exists():
        reasons.append("this is a Docker container, whose default profiles forbid it")
    return f" ({'; '.join(reasons)})" if reasons else ""
