"""Every runtime that works on this machine, and a small image to run in them."""

from __future__ import annotations

import asyncio
import os
import struct
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.images import closure
from airflow_batchstream.emulator.images.build import BASE
from airflow_batchstream.emulator.images.layer import LayerWriter
from airflow_batchstream.emulator.images.tree import File, Link, Tree, write_tar
from airflow_batchstream.emulator.runtimes.base import Container, Rootfs, Running, Runtime
from airflow_batchstream.emulator.runtimes.bwrap import BwrapRuntime
from airflow_batchstream.emulator.runtimes.namespace import NamespaceRuntime
from airflow_batchstream.emulator.runtimes.process import ProcessRuntime

PATH = "/usr/local/bin:/usr/bin:/bin"


def _in_a_user_namespace() -> Runtime:
    runtime = NamespaceRuntime()
    runtime.__dict__["_userns"] = True  # as root too, so that root's test run covers what others get
    return runtime


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "bwrap": BwrapRuntime,
    "namespace": NamespaceRuntime,
    "namespace-userns": _in_a_user_namespace,
    "process": ProcessRuntime,
}
_made: dict[str, tuple[Runtime, str]] = {}


def _working(name: str) -> Runtime:
    if name not in _made:
        runtime = RUNTIMES[name]()
        _made[name] = (runtime, runtime.probe())
    runtime, failed = _made[name]
    if failed:
        pytest.skip(f"{name} does not work here: {failed}")
    return runtime


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime in turn."""
    return _working(request.param)


@pytest.fixture(params=[name for name in RUNTIMES if name != "process"])
def isolating(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime that isolates, in turn."""
    return _working(request.param)


@pytest.fixture
def process() -> Runtime:
    return _working("process")


def unpacked(folder: Path, *trees: Tree) -> Rootfs:
    """An image of these layers, unpacked; a name that starts with ``.wh.`` hides, as in a tar."""
    layers = []
    for number, tree in enumerate(trees):
        place = folder / str(number)
        place.mkdir(parents=True)
        tar = folder / f"{number}.tar"
        with tar.open("wb") as file:
            write_tar(tree, file)
        with tar.open("rb", buffering=0) as raw:
            LayerWriter(place).fill(raw)
        layers.append(place / "fs")
    return Rootfs(tuple(layers), folder / "merged")


@pytest.fixture(scope="session")
def machine_tree() -> Tree:
    """A shell and small programs."""
    return BASE | closure.tools()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, machine_tree: Tree) -> Rootfs:
    """Two layers: the shell and small programs; scripts, a link, and something hidden from below."""
    lower = machine_tree | {"opt/gone": File(b"gone"), "opt/old/inside": File(b"old"), "opt/stays": File(b"stays")}
    upper: Tree = {
        "app/data.txt": File(b"from the image\n"),
        "app/tool": File(b"#!/bin/sh\necho tool $1 $(pwd)\n", 0o755),
        "app/lost": File(b"#!/no/such/interpreter\n", 0o755),
        "away": Link("/etc"),
        "opt/.wh.gone": File(b""),
        "opt/old/.wh..wh..opq": File(b""),
        "opt/old/new": File(b"new"),
    }
    return unpacked(tmp_path_factory.mktemp("image"), lower, upper)


@dataclass
class Ran:
    """What a container did."""

    code: int = -1
    err: bytes = b""
    notices: tuple[str, ...] = ()
    pieces: list[bytes] = field(default_factory=list)

    @property
    def out(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        return self.out.decode()


Control = Callable[[Running, "Ran"], Awaitable[object]]


@dataclass
class Runner:
    """Runs containers of the image, each with a folder of its own."""

    image: Rootfs
    folder: Path

    def __call__(self, runtime: Runtime, *argv: str, control: Control | None = None, **settings: Any) -> Ran:
        """Run a command to its end.

        :param control: is awaited while it runs.
        """
        return asyncio.run(self.run(runtime, *argv, control=control, **settings))

    def sh(self, runtime: Runtime, script: str, **settings: Any) -> Ran:
        """Run a script by the image's shell."""
        return self(runtime, "sh", "-c", script, **settings)

    async def run(self, runtime: Runtime, *argv: str, control: Control | None = None, **settings: Any) -> Ran:
        env = settings.pop("env", {"PATH": PATH})
        container = Container(list(argv), env, **({"rootfs": self.image} | settings))
        scratch = self.folder / uuid.uuid4().hex
        scratch.mkdir(parents=True)
        ran = Ran()

        def err(data: bytes) -> None:
            ran.err += data

        running = await runtime.start(container, scratch, ran.pieces.append, err)
        ran.notices = running.notices
        if control is not None:
            await control(running, ran)
        ran.code = await asyncio.wait_for(running.wait(), 30)
        assert not list(scratch.iterdir()), "something of the container is left in its folder"
        return ran


@pytest.fixture
def run(image: Rootfs, tmp_path: Path) -> Runner:
    return Runner(image, tmp_path / "scratch")


class Marker:
    """A word by which processes of one test are found: a number of seconds that nobody else sleeps."""

    def __init__(self) -> None:
        self.seconds = f"9{time.time_ns() % 10**9:09d}"

    @property
    def alive(self) -> list[int]:
        """The processes that have it in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if self.seconds.encode() in words and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        return found


@pytest.fixture
def marker() -> Marker:
    return Marker()


async def printed(ran: Ran, text: str, seconds: float = 20) -> None:
    """Wait until a container has printed something."""
    deadline = time.monotonic() + seconds
    while text.encode() not in ran.out:
        assert time.monotonic() < deadline, f"not printed within {seconds} s: {text!r}; {ran}"
        await asyncio.sleep(0.01)


@pytest.fixture
def until_printed() -> Callable[..., Awaitable[None]]:
    return printed


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Rootfs]:
    """Unpacks an image of given layers."""
    return lambda *trees: unpacked(tmp_path / "image", *trees)


@pytest.fixture
def namespace() -> Runtime:
    return _working("namespace")


@pytest.fixture(scope="session")
def static_program() -> bytes:
    """A whole program without libraries that ends with 42: ``mov edi, 42; mov eax, 60; syscall``."""
    if os.uname().machine != "x86_64":
        pytest.skip("the program is for x86_64")
    code = bytes.fromhex("bf2a000000b83c0000000f05")
    base, start = 0x400000, 64 + 56
    elf = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    elf += struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, start + len(code), start + len(code), 4096)
    return elf + code
