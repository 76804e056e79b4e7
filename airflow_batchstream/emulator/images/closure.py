"""Programs of this machine, with all that they need to run in an image of their own.

A program's shared libraries are those that ``ldd`` names. A chain of links becomes one link; where ``/bin`` is a link
to ``usr/bin`` (merged /usr), it is one in the image too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from airflow_batchstream.emulator.images.tree import File, Link, Tree

TOOLS = (
    "sh", "[", "awk", "base64", "basename", "cat", "chmod", "cp", "cut", "date", "dd", "df", "dirname", "du", "echo",
    "env", "expr", "false", "find", "grep", "head", "hostname", "id", "kill", "ln", "ls", "md5sum", "mkdir", "mktemp",
    "mv", "nproc", "od", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "setsid", "sha256sum",
    "sleep", "sort", "stat", "stty", "tail", "tee", "test", "timeout", "touch", "tr", "true", "uname", "uniq", "wc",
    "whoami", "xargs", "yes",
)  # fmt: skip
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LDD = "ldd"
TOP_LINKS = ("bin", "sbin", "lib", "lib32", "lib64")
LEFT_OUT = (
    "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo", "site-packages", "dist-packages",
    "__pycache__", "pydoc_data",
)  # fmt: skip
"""Folders of Python's standard library that no job needs."""
LIBRARY = re.compile(r"(/[^\s()]+)\s+\(0x")
TOGETHER = 200
"""Files in one call of ``ldd``."""


class BuildError(Exception):
    """The image cannot be built on this machine, or as asked; the message says why."""


def tools(names: Iterable[str] = TOOLS) -> Tree:
    """The shell and the small programs that scripts use, those that this machine has.

    :raises BuildError: there is no shell, or no ``ldd`` to tell what it needs.
    """
    found = {name: path for name in names if (path := shutil.which(name, path=PATH))}
    if "sh" not in found:
        raise BuildError(f"this machine has no `sh` in {PATH}: there is nothing to build an image from")
    return programs(Path(path) for path in found.values())


def python() -> Tree:
    """The Python that runs this, with its standard library, also as ``/usr/local/bin/python3``."""
    library = Path(sysconfig.get_path("stdlib")).resolve()  # the resolved program looks for it there
    tree: Tree = {}
    extensions = []
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith("config-")]
        for name in names:
            path = Path(folder) / name
            if path.suffix in (".pyc", ".a", ".exe") or not path.is_file():
                continue
            tree[str(path).lstrip("/")] = File(path.resolve(), 0o644)
            if ".so" in path.suffixes:
                extensions.append(path)
    program = Path(sys.executable).resolve()
    tree["usr/local/bin/python3"] = Link(str(program))
    return programs([program, *extensions]) | tree


def programs(paths: Iterable[Path]) -> Tree:
    """These programs, the interpreters of those that are scripts, and all their libraries.

    :raises BuildError: ``ldd`` is missing.
    """
    tree: Tree = {}
    todo = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100  (not resolved: its links belong into the image)
    seen: set[Path] = set()
    while todo:
        fresh = [path for path in dict.fromkeys(todo) if path not in seen and path.exists()]
        seen.update(fresh)
        todo = []
        dynamic = []
        for path in fresh:
            real = path.resolve()
            _place(tree, path, real)
            kind = _kind(real)
            if kind == b"\x7fELF":
                dynamic.append(real)
            elif kind.startswith(b"#!"):
                todo += _interpreter(real)
        todo += _libraries(dynamic)
    for top in TOP_LINKS:
        if Path("/", top).is_symlink():
            tree[top] = Link(str(Path("/", top).readlink()))
    return tree


def _place(tree: Tree, path: Path, real: Path) -> None:
    """The file at its real place, and one link to it from where it was asked for."""
    tree[str(real).lstrip("/")] = File(real, 0o755)
    shown = path.parent.resolve() / path.name
    if shown != real:
        tree[str(shown).lstrip("/")] = Link(os.path.relpath(real, shown.parent))


def _kind(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _interpreter(path: Path) -> list[Path]:
    with path.open("rb") as file:
        words = file.readline(256)[2:].split()
    return [Path(os.fsdecode(words[0]))] if words else []


def _libraries(paths: list[Path]) -> list[Path]:
    found: dict[Path, None] = {}
    for start in range(0, len(paths), TOGETHER):
        try:
            done = subprocess.run(
                [LDD, *map(str, paths[start : start + TOGETHER])],
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,  # it fails for a static program, and goes on with the others
                env={"PATH": PATH, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise BuildError(
                "this machine has no `ldd`, which tells what a program needs: install it (Debian: libc-bin), "
                "or build the image with Docker and push it to the local Batch"
            ) from None
        found |= dict.fromkeys(map(Path, LIBRARY.findall(done.stdout)))
    return list(found)
