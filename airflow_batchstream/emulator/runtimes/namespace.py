"""The namespace runtime: isolation from the kernel alone, by :mod:`.launcher`. No root, no daemon, no other program.

As root no user namespace is made, so an image's owners are what they say; as somebody else the container's user is
this one under another number, and all of the image's files are its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.runtimes import launch
from airflow_batchstream.emulator.runtimes.base import Container, Mount, Output, Rootfs, Running, refuse
from airflow_batchstream.emulator.runtimes.box import Box, Boxes
from airflow_batchstream.emulator.runtimes.process import ProcessRuntime
from airflow_batchstream.emulator.runtimes.rootfs import View
from airflow_batchstream.emulator.runtimes.trial import machine_mounts, reason_of_refusal, run_true
from airflow_batchstream.emulator.runtimes.users import Identity, resolve

OVERFLOW = 2**32 - 1


class NamespaceRuntime:
    """Runs a container in Linux namespaces of its own."""

    name = "namespace"
    isolated = True

    def __init__(self) -> None:
        self._boxes = Boxes(self._mounts)

    @cached_property
    def _userns(self) -> bool:
        """Whether a user namespace is needed: not as root, unless this root may not mount (inside Docker)."""
        return os.geteuid() != 0 or bool(self._try(userns=False))

    def probe(self) -> str:
        """Whether this machine lets this user make namespaces."""
        failed = self._try(userns=self._userns)
        return f"{failed}{reason_of_refusal()}" if failed else ""

    def _try(self, *, userns: bool) -> str:
        with tempfile.TemporaryDirectory(prefix="batchstream-probe-") as folder:
            (Path(folder) / "root").mkdir()
            isolate = self._isolate(Box(Path(folder)), Container(["true"], mounts=machine_mounts()), Identity(), userns)
            return run_true(launch.COMMAND, launch.order(["true"], {}, "/", isolate=isolate))

    def _mounts(self, box: Box) -> bool:
        """Whether a box of layers can be mounted. Nothing is run in it: the image may have no ``true``."""
        isolate = self._isolate(box, Container([]), Identity(), self._userns)
        return not run_true(launch.COMMAND, launch.order([], {}, "/", isolate=isolate))

    async def start(self, container: Container, scratch: Path, stdout: Output, stderr: Output) -> Running:
        """Start the command as the second process of its own process table; the first is ours, and collects orphans."""
        if container.rootfs is None:
            return await ProcessRuntime().start(container, scratch, stdout, stderr)
        if not container.argv:
            return refuse(stderr, "there is nothing to run: neither the image nor the job gives a command")
        try:
            box, told = await asyncio.to_thread(self._prepare, container, container.rootfs, scratch)
        except (ValueError, OSError) as error:
            return refuse(stderr, f"cannot set the container up: {error}")
        try:
            return launch.Launched(told, stdout, stderr, after=box.remove)
        except (OSError, subprocess.SubprocessError) as error:
            await asyncio.to_thread(box.remove)
            return refuse(stderr, f"cannot start the launcher: {error}")

    def _prepare(self, container: Container, rootfs: Rootfs, scratch: Path) -> tuple[Box, dict[str, Any]]:
        who = resolve(container.user, View(rootfs.layers))
        if max(who.uid, who.gid) >= OVERFLOW:
            raise ValueError(f"the image's user {container.user!r} has a number above what Linux takes")
        box = self._boxes.make(rootfs, scratch)
        isolate = self._isolate(box, container, who, self._userns)
        return box, launch.order(list(container.argv), container.env, container.cwd, who.home, isolate)

    def _isolate(self, box: Box, container: Container, who: Identity, userns: bool) -> dict[str, Any]:
        return {
            "userns": userns,
            "scratch": str(box.folder.absolute()),
            "layers": list(box.layers),
            "hostname": container.hostname,
            "network": container.network,
            "mounts": [_mount(mount) for mount in container.mounts],
            "resolv": _text("/etc/resolv.conf"),
            "hosts": _text("/etc/hosts"),
            **asdict(who),
        }


def _mount(mount: Mount) -> dict[str, Any]:
    return {"src": str(mount.src.resolve()), "dst": mount.dst, "read_only": mount.read_only}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""
