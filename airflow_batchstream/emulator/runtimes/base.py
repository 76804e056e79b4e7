"""What the runner asks of a runtime: start this container, hand me its output, tell me its end, end it.

The runner sees only what is here; :mod:`.select` chooses the runtime. Every runtime keeps these promises:

- Output comes as raw bytes, stdout and stderr apart, in the order of each pipe; nothing is gathered in memory, so a
  container that prints faster than the callbacks take it is held back by its pipe.
- When :meth:`Running.wait` has returned, all output was delivered and no process of the container lives, however it
  detached itself.
- A container dies with the process that started it, even if that one is killed with SIGKILL.
- The exit code is the command's own; 128 + signal if a signal ended it; 127 if it was not found; 126 if it cannot be
  executed; 125 if the runtime could not set the container up, with a sentence on its stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Output = Callable[[bytes], None]
"""Takes a piece of what a container printed: never empty, at most 64 KiB, cut anywhere. Called in the event loop."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a command is looked for if the image does not say: Docker's default."""

TROUBLE = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine inside the container.

    :param src: must exist; the runner makes missing folders.
    :param dst: absolute, as the container sees it; made where the image lacks it.
    """

    src: Path
    dst: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Rootfs:
    """An unpacked image, shared by all containers that run it; none of them may write to it.

    :param layers: one folder a layer, the lowest first, in overlayfs' own form; what a layer hides is also listed in
        the sidecar file beside its folder (see :mod:`.rootfs`).
    :param merged: where one folder with all layers in one is kept; made when a runtime first needs it.
    :param overlay: whether the layers hold overlayfs' marks, so that they may be mounted as they are.
    """

    layers: tuple[Path, ...]
    merged: Path
    overlay: bool = True


@dataclass(frozen=True, slots=True)
class Container:
    """One container to run.

    :param argv: the command as the image and the job give it together; the first word is looked for in ``PATH``.
    :param env: the whole environment; ``PATH`` and ``HOME`` are filled in where they are missing.
    :param cwd: absolute; made where the image lacks it.
    :param user: as an image's config says it: ``""``, ``1000``, ``1000:1000``, ``name``, ``name:group``.
    :param rootfs: the image, or None for a script runnable, which runs on the machine itself.
    :param mounts: a later one may lie inside an earlier one.
    :param network: False gives the container no network but its own loopback, where the runtime can do that.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    user: str = ""
    rootfs: Rootfs | None = None
    mounts: tuple[Mount, ...] = ()
    hostname: str = "batch"
    network: bool = True


class Running(Protocol):
    """A container that was started."""

    pid: int
    """Of the process on this machine that holds the container; 0 if there is none."""
    notices: tuple[str, ...]
    """What the runtime could not do as asked, and what it did instead: sentences for the agent's log."""

    async def wait(self) -> int:
        """Its exit code, once its output was delivered and all of its processes are gone. May be called repeatedly.

        :raises Exception: what an output callback raised; the container was run to its end all the same.
        """
        ...

    def terminate(self) -> None:
        """Send SIGTERM to the command, and to it alone: what it started is its own to end. Harmless after the end."""
        ...

    def kill(self) -> None:
        """End every process of the container with SIGKILL. Harmless after the end."""
        ...


class Runtime(Protocol):
    """A way to run containers."""

    name: str
    isolated: bool
    """Whether a container has its own file system and process table."""

    def probe(self) -> str:
        """Really run ``true`` through it: empty if that works, else the reason, in one sentence. Takes milliseconds."""
        ...

    async def start(self, container: Container, scratch: Path, stdout: Output, stderr: Output) -> Running:
        """Start a container.

        A container that cannot be started is no exception: it prints why on its stderr and ends with 125, 126 or 127.

        :param scratch: an empty folder of this container alone, on a disk that may grow; what the container writes to
            its own file system goes there. The runtime removes what it put there when the container has ended.
        """
        ...


@dataclass(slots=True)
class Refused:
    """A container that could not be started: it printed why, and has ended.

    :param code: 125, 126 or 127.
    """

    code: int
    notices: tuple[str, ...] = ()
    pid: int = 0

    async def wait(self) -> int:
        """The code at once."""
        return self.code

    def terminate(self) -> None:
        """Nothing runs."""

    def kill(self) -> None:
        """Nothing runs."""


def refuse(stderr: Output, why: str, code: int = TROUBLE, notices: tuple[str, ...] = ()) -> Refused:
    """Say on the container's stderr why it was not started, in the form that the launcher has too."""
    stderr(f"batchstream: {why}\n".encode(errors="surrogateescape"))
    return Refused(code, notices)
