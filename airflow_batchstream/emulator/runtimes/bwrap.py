"""The bubblewrap runtime: ``bwrap`` from the PATH makes the namespaces.

It starts quicker than our own launcher, and some machines trust it alone with user namespaces (AppArmor's profiles).
Where it has no overlayfs (before 0.11) each container gets a copy of its image.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from airflow_batchstream.emulator.runtimes.base import (
    DEFAULT_PATH,
    NOT_EXECUTABLE,
    NOT_FOUND,
    TROUBLE,
    Container,
    Output,
    Rootfs,
    Running,
    refuse,
)
from airflow_batchstream.emulator.runtimes.box import Box, Boxes
from airflow_batchstream.emulator.runtimes.child import Child, readable
from airflow_batchstream.emulator.runtimes.launcher import READ_ONLY_IN_PROC
from airflow_batchstream.emulator.runtimes.process import ProcessRuntime
from airflow_batchstream.emulator.runtimes.rootfs import View
from airflow_batchstream.emulator.runtimes.trial import machine_mounts, reason_of_refusal, run_true
from airflow_batchstream.emulator.runtimes.users import Identity, resolve

CAPABILITIES = (
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service", "net_raw",
    "sys_chroot", "audit_write", "setfcap",
)  # fmt: skip
"""What root in a container keeps: the same as under the launcher."""
MESSAGE = b"bwrap: "
HELD_BYTES = 4096
CHILD_PID = re.compile(rb'"child-pid": *(\d+)\s*[,}]')
CLONE_OPTIONS = ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session", "--clearenv")


class BwrapRuntime:
    """Runs a container in bubblewrap."""

    name = "bwrap"
    isolated = True

    def __init__(self) -> None:
        self._boxes = Boxes(self._mounts, full_names=True)

    @cached_property
    def _program(self) -> str:
        return shutil.which("bwrap") or ""

    @cached_property
    def overlay(self) -> bool:
        """Whether this bwrap can mount layers."""
        with suppress(OSError):
            done = subprocess.run([self._program, "--help"], capture_output=True, text=True, check=False)
            return "--overlay-src" in done.stdout + done.stderr
        return False

    def probe(self) -> str:
        """Whether bwrap is there, and may make namespaces."""
        if not self._program:
            return "bwrap is not on the PATH"
        failed = self._try([])
        return f"{failed}{reason_of_refusal()}" if failed else ""

    def _mounts(self, box: Box) -> bool:
        return self.overlay and not self._try([*_overlay(box), "/image"])

    def _try(self, more: Sequence[str]) -> str:
        args = [*CLONE_OPTIONS, "--unshare-user", "--proc", "/proc", "--dev", "/dev", "--setenv", "PATH", DEFAULT_PATH]
        for mount in machine_mounts():
            args += ["--ro-bind", str(mount.src), mount.dst]
        return run_true([self._program, *args, *more, "--", "true"])

    async def start(self, container: Container, scratch: Path, stdout: Output, stderr: Output) -> Running:
        """Start the command as the second process of its own process table; the first is bwrap's."""
        if container.rootfs is None:
            return await ProcessRuntime().start(container, scratch, stdout, stderr)
        if not container.argv:
            return refuse(stderr, "there is nothing to run: neither the image nor the job gives a command")
        for mount in container.mounts:
            if not mount.src.exists():
                return refuse(stderr, f"the volume's source {mount.src} does not exist on this machine")
        try:
            box, args = await asyncio.to_thread(self._prepare, container, container.rootfs, scratch)
        except (ValueError, OSError) as error:
            return refuse(stderr, f"cannot set the container up: {error}")
        try:
            return _Running(self._program, args, container.argv, box, stdout, stderr)
        except (OSError, subprocess.SubprocessError) as error:
            await asyncio.to_thread(box.remove)
            return refuse(stderr, f"cannot start bwrap: {error}")

    def _prepare(self, container: Container, rootfs: Rootfs, scratch: Path) -> tuple[Box, list[str]]:
        view = View(rootfs.layers)
        who = resolve(container.user, view)
        box = self._boxes.make(rootfs, scratch.absolute())
        _name_services(box, view, container)
        root = [*_overlay(box), "/"] if box.layers else ["--bind", str(box.folder / "root"), "/"]
        args = [*CLONE_OPTIONS, *_rights(who), *root, "--hostname", container.hostname]
        args += [] if container.network else ["--unshare-net"]
        args += ["--proc", "/proc", *_guarded_proc(), "--dev", "/dev", "--ro-bind", "/sys", "/sys"]
        for mount in container.mounts:
            bind = "--ro-bind" if mount.read_only else "--bind"
            args += [bind, str(mount.src.resolve()), _inside(view, mount.dst)]
        args += ["--dir", _inside(view, container.cwd), "--chdir", container.cwd]
        for name, value in ({"PATH": DEFAULT_PATH, "HOME": who.home} | dict(container.env)).items():
            args += ["--setenv", name, value]
        if any("\0" in arg for arg in args):  # bwrap would read it as the end of one and the start of another
            box.remove()
            raise ValueError("the environment holds a zero byte")
        return box, args


def _overlay(box: Box) -> list[str]:
    args = []
    for name in reversed(box.layers):
        args += ["--overlay-src", str((box.folder / name).resolve())]
    return [*args, "--overlay", str(box.folder / "upper"), str(box.folder / "work")]


def _rights(who: Identity) -> list[str]:
    """User, capabilities, and a user namespace where one is needed: by all but root for root.

    In it all files of other owners belong to nobody, which for root's containers loses what the image says.
    """
    args = []
    if os.geteuid() != 0 or who.uid != 0 or who.gid != 0:
        args += ["--unshare-user", "--uid", str(who.uid), "--gid", str(who.gid)]
    args += ["--cap-drop", "ALL"]
    if who.uid == 0:
        for name in CAPABILITIES:
            args += ["--cap-add", f"cap_{name}"]
    return args


def _guarded_proc() -> list[str]:
    """The kernel's settings, which root could write to even without capabilities."""
    if os.geteuid() != 0:
        return []
    return [word for name in READ_ONLY_IN_PROC for word in ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")]


def _inside(view: View, path: str) -> str:
    """A path of the image with its links followed as far as it exists: bwrap would follow them on this machine."""
    path = posixpath.normpath("/" + path)
    rest: list[str] = []
    while (found := view.find(path)) is None:
        path, name = posixpath.split(path)
        rest.insert(0, name)
    return posixpath.join("/", found.path, *rest)


def _name_services(box: Box, view: View, container: Container) -> None:
    """How names are looked up: as on this machine, as with Docker's host network."""
    root = box.folder / ("upper" if box.layers else "root")
    if view.find("tmp") is None:
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
    etc = view.find("etc")
    if etc is not None and (etc.path != "etc" or not etc.real.is_dir()):
        return
    (root / "etc").mkdir(mode=0o755, exist_ok=True)
    hosts = b"127.0.0.1 localhost\n::1 localhost\n"
    files = {"hostname": f"{container.hostname}\n".encode()}
    if container.network:
        hosts = _bytes("/etc/hosts") or hosts
        files["resolv.conf"] = _bytes("/etc/resolv.conf")
    files["hosts"] = hosts.rstrip() + f"\n127.0.1.1 {container.hostname}\n".encode()
    for name, content in files.items():
        path = root / "etc" / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)


def _bytes(path: str) -> bytes:
    with suppress(OSError):
        return Path(path).read_bytes()
    return b""


class _Running:
    """A container in bwrap. Its process 1 is bwrap's; when that has ended, so has everything inside."""

    notices: tuple[str, ...] = ()

    def __init__(
        self, program: str, args: Sequence[str], argv: Sequence[str], box: Box, stdout: Output, stderr: Output
    ) -> None:
        self._argv = argv
        self._stderr = stderr
        self._held: bytes | None = b""
        self._first = -1
        """A pidfd of process 1."""
        self._first_pid = 0
        self._told = b""
        self._terminate = False
        self._killed = False
        self._code: asyncio.Future[int] | None = None
        self._loop = asyncio.get_running_loop()
        self._status, status = os.pipe()
        with tempfile.TemporaryFile() as file:  # not on the command line, where everybody could read the environment
            file.write(b"\0".join(os.fsencode(arg) for arg in args) + b"\0")
            file.seek(0)
            command = [program, "--args", str(file.fileno()), "--json-status-fd", str(status), "--", *argv]
            try:
                self._child = Child(
                    command,
                    stdout=stdout,
                    stderr=self._take,
                    pass_fds=(file.fileno(), status),
                    env={},
                    settled=self._settled,
                    after=box.remove,
                )
            except BaseException:
                os.close(self._status)
                raise
            finally:
                os.close(status)
        self.pid = self._child.pid
        os.set_blocking(self._status, False)
        self._loop.add_reader(self._status, self._read_status)

    async def wait(self) -> int:
        """Its exit code; see :class:`.base.Running`."""
        if self._code is None:
            self._code = asyncio.ensure_future(self._conclude())
        return await asyncio.shield(self._code)

    def terminate(self) -> None:
        """bwrap would end everything at once: the signal goes past it, to the command alone."""
        self._terminate = True
        self._send_term()

    def kill(self) -> None:
        """With its process 1 the kernel ends the whole container."""
        self._killed = True
        if self._first >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        else:
            self._child.signal(signal.SIGKILL)

    # ---- inside ----

    def _read_status(self) -> None:
        """bwrap's first words tell which process is the container's first; they come in pieces."""
        with suppress(BlockingIOError):
            data = os.read(self._status, HELD_BYTES)
            self._told += data
            if self._first < 0 and (found := CHILD_PID.search(self._told)):
                with suppress(OSError):
                    self._first_pid = int(found[1])
                    self._first = os.pidfd_open(self._first_pid)
            if not data:
                self._loop.remove_reader(self._status)
        if self._terminate:
            self._send_term()

    def _send_term(self, tries: int = 100) -> None:
        """TERM to the only child of process 1; a moment later if it has not been started yet."""
        if self._child.done or not tries:
            return
        if self._first_pid:
            with suppress(OSError, ValueError, IndexError):
                children = Path(f"/proc/{self._first_pid}/task/{self._first_pid}/children").read_text().split()
                os.kill(int(children[0]), signal.SIGTERM)
                self._terminate = False
                return
        if self._terminate:
            self._loop.call_later(0.02, self._send_term, tries - 1)

    def _take(self, data: bytes) -> None:
        """stderr; what may be bwrap's own last words is held back until its exit code tells."""
        if self._held is None:
            self._stderr(data)
            return
        self._held += data
        if not self._held.startswith(MESSAGE[: len(self._held)]) or len(self._held) > HELD_BYTES:
            held, self._held = self._held, None
            self._stderr(held)

    async def _settled(self) -> None:
        """bwrap itself leaves before what it started has been ended."""
        self._loop.remove_reader(self._status)
        self._read_status()
        os.close(self._status)
        if self._first >= 0:
            if self._killed:
                self.kill()
            await readable(self._first)
            os.close(self._first)
            self._first = -1

    async def _conclude(self) -> int:
        code = await self._child.ended()
        held = self._held or b""
        if not held:
            return code
        words = held.decode(errors="replace").strip()
        if code != 1 or not held.startswith(MESSAGE):
            self._stderr(held)
            return code
        if not words.startswith("bwrap: execvp "):
            refuse(self._stderr, f"cannot set the container up: {words}")
            return TROUBLE
        found = "No such file" not in words
        refuse(self._stderr, f"cannot run {self._argv[0]!r}: {words.rpartition(': ')[2]}")
        return NOT_EXECUTABLE if found else NOT_FOUND
