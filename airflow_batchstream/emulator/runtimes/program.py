"""A program out of an unpacked image, run on this machine without the image's root: for the process runtime.

A static program is run as it is. A dynamic one is handed to the image's own loader with the image's library folders, so
that it meets the C library it was built for. A script is handed to its interpreter, found in the same way.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_batchstream.emulator.runtimes.base import DEFAULT_PATH
from airflow_batchstream.emulator.runtimes.rootfs import Found, View

LIBRARIES = ("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")
SCRIPTS = 4
"""Scripts whose interpreter is a script, as deep as the kernel goes."""
PT_INTERP = 3


@dataclass(frozen=True, slots=True)
class Program:
    """How to run a program on this machine.

    :param argv: the full command.
    :param source: the program's path inside the image; empty if this machine's own is run.
    """

    argv: tuple[str, ...]
    source: str = ""


def locate(argv: Sequence[str], env: Mapping[str, str], view: View, cwd: str = "/") -> Program:
    """Find the command in the image, else leave it to this machine.

    :param cwd: of the container, for a command that is a relative path.
    """
    found = _find(argv[0], env, view, cwd)
    if found is None:
        return Program(tuple(argv))
    runnable = _runnable(found, list(argv[1:]), env, view, SCRIPTS)
    return Program(tuple(runnable), "/" + found.path) if runnable else Program(tuple(argv))


def _find(name: str, env: Mapping[str, str], view: View, cwd: str) -> Found | None:
    if "/" in name:
        places = [posixpath.join(cwd, name)]
    else:
        places = [posixpath.join(folder, name) for folder in env.get("PATH", DEFAULT_PATH).split(":")]
    for place in places:
        found = view.find(place)
        if found is not None and found.real.is_file() and found.real.stat().st_mode & 0o111:
            return found
    return None


def _runnable(found: Found, rest: list[str], env: Mapping[str, str], view: View, depth: int) -> list[str]:
    """The command for a program of the image; empty if it is of no kind that can be run without its root."""
    with found.real.open("rb") as file:
        head = file.read(4096)
    if head[:2] == b"#!" and depth:
        words = head[2:].split(b"\n", 1)[0].decode(errors="surrogateescape").split(None, 1)
        if words and posixpath.basename(words[0]) == "env" and len(words) == 2:
            words = words[1].removeprefix("-S").split()
        interpreter = _find(words[0], env, view, "/") if words else None
        if interpreter is None:
            return []
        return _runnable(interpreter, [*words[1:], str(found.real), *rest], env, view, depth - 1)
    if head[:4] != b"\x7fELF":
        return []
    loader = _interpreter(head)
    if not loader:
        return [str(found.real), *rest]
    real = view.find(loader)
    if real is None:
        return []
    libraries = ":".join(_library_folders(env, view))
    quiet = [] if "musl" in loader else ["--inhibit-cache"]
    return [str(real.real), *quiet, "--library-path", libraries, str(found.real), *rest]


def _interpreter(head: bytes) -> str:
    """The loader that an ELF program asks for; empty for a static one."""
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    if wide:
        (offset,) = struct.unpack_from(order + "Q", head, 32)
        size, count = struct.unpack_from(order + "HH", head, 54)
    else:
        (offset,) = struct.unpack_from(order + "I", head, 28)
        size, count = struct.unpack_from(order + "HH", head, 42)
    for at in range(offset, min(offset + size * count, len(head) - size + 1), size):
        (kind,) = struct.unpack_from(order + "I", head, at)
        if kind == PT_INTERP:
            start, length = (
                (struct.unpack_from(order + "Q", head, at + 8)[0], struct.unpack_from(order + "Q", head, at + 32)[0])
                if wide
                else (
                    struct.unpack_from(order + "I", head, at + 4)[0],
                    struct.unpack_from(order + "I", head, at + 16)[0],
                )
            )
            return head[start : start + length].rstrip(b"\0").decode(errors="surrogateescape")
    return ""


def _library_folders(env: Mapping[str, str], view: View) -> list[str]:
    """Where the image keeps its libraries, as folders of this machine."""
    wanted = [folder for folder in env.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for name in ("etc/ld.so.conf", *_config_names(view)):
        lines = view.read(name).decode(errors="replace").splitlines()
        wanted += [line.strip() for line in lines if line.startswith("/")]
    folders: dict[str, None] = {}
    for folder in (*wanted, *LIBRARIES):
        for candidate in (folder, *(posixpath.join(folder, f"{m}-linux-gnu") for m in ("x86_64", "aarch64"))):
            found = view.find(candidate)
            if found is not None and found.real.is_dir():
                folders[str(found.real)] = None
    return list(folders)


def _config_names(view: View) -> list[str]:
    found = view.find("etc/ld.so.conf.d")
    if found is None or not found.real.is_dir():
        return []
    return sorted(posixpath.join("etc/ld.so.conf.d", entry.name) for entry in found.real.glob("*.conf"))
