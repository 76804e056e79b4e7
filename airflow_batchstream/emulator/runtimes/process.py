"""The process runtime: no isolation, for machines that give none, and for script runnables everywhere.

It keeps what can be kept without a root of its own: exit codes, output, signals, the end of every descendant. For the
rest it does the next best thing and says so in the notices: see :meth:`ProcessRuntime.start`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import posixpath
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from airflow_batchstream.emulator.runtimes import launch
from airflow_batchstream.emulator.runtimes.base import (
    DEFAULT_PATH,
    Container,
    Mount,
    Output,
    Rootfs,
    Running,
    refuse,
)
from airflow_batchstream.emulator.runtimes.program import locate
from airflow_batchstream.emulator.runtimes.rootfs import View, merge, remove_tree
from airflow_batchstream.emulator.runtimes.trial import run_true

COPIED = 256 << 20
"""Bytes of an image's working directory that are copied for one container; a larger one is left empty."""


class ProcessRuntime:
    """Runs a container's command as a plain process."""

    name = "process"
    isolated = False

    def probe(self) -> str:
        """Whether a process can be started and supervised at all."""
        return run_true(launch.COMMAND, launch.order(["true"], {}, "/"))

    async def start(self, container: Container, scratch: Path, stdout: Output, stderr: Output) -> Running:
        """Start the command on this machine.

        - The program is the image's own if it is found there, run by the image's own loader; else this machine's. What
          it starts in turn is found on this machine first, then in the image.
        - Paths in the command are this machine's. Those of volumes are replaced by their sources in command,
          environment and working directory; read-only is not enforced.
        - The working directory is a copy of the image's.
        - ``user``, ``hostname`` and ``network`` have no effect.
        """
        if not container.argv:
            return refuse(stderr, "there is nothing to run: neither the image nor the job gives a command")
        for mount in container.mounts:
            if not mount.src.exists():
                return refuse(stderr, f"the volume's source {mount.src} does not exist on this machine")
        if container.rootfs is None:
            told, notices = _on_the_machine(container)
        else:
            told, notices = await asyncio.to_thread(_from_image, container, container.rootfs, scratch)
        try:
            return launch.Launched(told, stdout, stderr, notices=notices, after=lambda: remove_tree(scratch / "cwd"))
        except (OSError, subprocess.SubprocessError) as error:
            return refuse(stderr, f"cannot start the launcher: {error}")


Told = dict[str, object]


def _on_the_machine(container: Container) -> tuple[Told, tuple[str, ...]]:
    replaced = _Replaced(container.mounts)
    env = {name: replaced(value) for name, value in container.env.items()}
    home = os.environ.get("HOME", "/")
    path = {"PATH": os.environ.get("PATH", DEFAULT_PATH)}
    return launch.order([replaced(word) for word in container.argv], path | env, replaced(container.cwd), home), ()


def _from_image(container: Container, rootfs: Rootfs, scratch: Path) -> tuple[Told, tuple[str, ...]]:
    scratch, merged = scratch.absolute(), merged_folder(rootfs).absolute()  # the command starts in another folder
    view = View([merged])
    replaced = _Replaced(container.mounts)
    env = {name: replaced(value) for name, value in container.env.items()}
    path = env.get("PATH", DEFAULT_PATH)
    program = locate([replaced(word) for word in container.argv], env, view, container.cwd)
    notices = [
        "runs as a plain process of this machine, without isolation: it sees this machine's files, not the image's"
    ]
    if program.source:
        notices.append(f"the program is the image's {program.source}")
    else:
        notices.append(f"the image holds no {container.argv[0]} that can run outside of it: this machine's is used")
    cwd = replaced(container.cwd)
    if cwd == container.cwd:
        cwd, notice = _working_directory(container.cwd, view, scratch)
        notices += [notice] if notice else []
    if container.mounts:
        pairs = ", ".join(f"{mount.dst} is {mount.src}" for mount in container.mounts)
        notices.append(f"volumes are not mounted but their paths replaced, read-only ones can be written to: {pairs}")
    if container.user not in ("", str(os.geteuid())):
        notices.append(f"runs as this process's user {os.geteuid()}, not as the image's {container.user!r}")
    if not container.network:
        notices.append("it has this machine's network though the job asks for none")
    inner = [str(found.real) for folder in path.split(":") if (found := view.find(folder)) is not None]
    env["PATH"] = ":".join(dict.fromkeys([*path.split(":"), *inner]))
    return launch.order(list(program.argv), env, cwd, str(scratch)), tuple(notices)


class _Replaced:
    """Puts the sources of volumes in the place of their paths in the container."""

    def __init__(self, mounts: tuple[Mount, ...]) -> None:
        self._sources = {posixpath.normpath(mount.dst): str(mount.src.absolute()) for mount in mounts}
        longest_first = sorted(map(re.escape, self._sources), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<![\w./-])({'|'.join(longest_first)})(?![\w.-])") if longest_first else None

    def __call__(self, text: str) -> str:
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: self._sources[found[1]], text)


def _working_directory(cwd: str, view: View, scratch: Path) -> tuple[str, str]:
    """A copy of the image's working directory, and a notice where that cannot be had."""
    target = scratch / "cwd"
    found = view.find(cwd)
    if posixpath.normpath(cwd) == "/" or found is None or not found.real.is_dir():
        target.mkdir()
        return str(target), ""
    size = sum(status.st_size for status in _files(found.real))
    if size > COPIED:
        target.mkdir()
        return str(target), f"{cwd} of the image has {size >> 20} MiB and is not copied: the working directory is empty"
    shutil.copytree(found.real, target, symlinks=True, ignore_dangling_symlinks=True)
    target.chmod(0o700)
    return str(target), ""


def _files(folder: Path) -> Iterator[os.stat_result]:
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(Path(place) / name)
            if stat.S_ISREG(status.st_mode):
                yield status


def merged_folder(rootfs: Rootfs) -> Path:
    """The image in one folder, made once and shared: not to be written to."""
    merged = rootfs.merged
    if merged.is_dir():
        return merged
    merged.parent.mkdir(parents=True, exist_ok=True)
    with _locked(merged.with_name(merged.name + ".lock")):
        if not merged.is_dir():
            made = merged.with_name(f"{merged.name}.{os.getpid()}.part")
            remove_tree(made)
            merge(rootfs.layers, made, link=True)
            made.rename(merged)
    return merged


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
