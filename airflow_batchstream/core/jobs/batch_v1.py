"""Google's schema of a Batch ``Job`` as a table: what :mod:`schema` walks along and :mod:`secrecy` looks at.

The table is data, made from Google's own packages by ``scripts/batch_schema.py``; nothing of ``google.*`` is imported.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    :param kind: ``string bool int32 int64 enum duration message``, or ``output`` for what only Batch writes.
    :param message: the message's name, of a ``message``.
    :param names: of an ``enum``; a name's index is its number on the wire.
    :param repeated: a list of ``kind``.
    :param mapped: a mapping from names to ``kind``.
    """

    name: str
    kind: str
    message: str = ""
    names: tuple[str, ...] = ()
    repeated: bool = False
    mapped: bool = False

    @property
    def item(self) -> Field:
        """The same field for one element of the list or mapping."""
        return Field(self.name, self.kind, self.message, self.names)


@dataclass(frozen=True, slots=True)
class Table:
    """The whole schema.

    :param oneofs: by message, the groups of fields of which only one may be set.
    """

    revision: str
    messages: Mapping[str, Mapping[str, Field]]
    oneofs: Mapping[str, tuple[tuple[str, ...], ...]]


@functools.cache
def table() -> Table:
    """Read once a process."""
    data = json.loads((importlib.resources.files(__package__) / "batch_v1.json").read_text(encoding="utf-8"))
    return Table(
        data["revision"],
        {
            message: {
                name: Field(
                    name,
                    part["kind"],
                    part.get("message", ""),
                    tuple(part.get("enum", ())),
                    part.get("repeated", False),
                    part.get("map", False),
                )
                for name, part in fields.items()
            }
            for message, fields in data["messages"].items()
        },
        {message: tuple(map(tuple, groups)) for message, groups in data["oneofs"].items()},
    )


@functools.cache
def places() -> dict[str, tuple[str, ...]]:
    """Where each field name stands: ``machineType`` -> ``("allocationPolicy.instances[].policy.machineType",)``."""
    found: dict[str, list[str]] = {}

    def walk(message: str, prefix: str) -> None:
        for name, part in table().messages[message].items():
            here = f"{prefix}{name}{'[]' if part.repeated else ''}"
            if part.kind != "output":
                found.setdefault(name, []).append(here.removesuffix("[]"))
            if part.kind == "message" and not part.mapped:
                walk(part.message, f"{here}.")

    walk("Job", "")
    return {name: tuple(paths) for name, paths in found.items()}


def camel(key: str) -> str:
    """``image_uri`` -> ``imageUri``; what is camelCase already stays. ``type_`` is Python's way of ``type``."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), key.removesuffix("_"))


# What people call a field who know Docker, Kubernetes or another batch service.
_HABITS = {
    "image": ("imageUri",),
    "imageurl": ("imageUri",),
    "command": ("commands",),
    "cmd": ("commands",),
    "args": ("commands",),
    "env": ("environment",),
    "envs": ("environment",),
    "envvars": ("environment",),
    "mounts": ("volumes",),
    "retries": ("maxRetryCount",),
    "maxretries": ("maxRetryCount",),
    "timeout": ("maxRunDuration", "timeout"),
    "tasks": ("taskCount",),
    "gpus": ("accelerators",),
    "gpu": ("accelerators",),
    "cpu": ("cpuMilli",),
    "memory": ("memoryMib",),
    "spot": ("provisioningModel",),
    "disksizegb": ("sizeGb",),
}


def _squeezed(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def nearest(key: str, names: Iterable[str]) -> str:
    """The name that was probably meant, or an empty text."""
    squeezed = {_squeezed(name): name for name in names}
    mine = _squeezed(key)
    if mine in squeezed:
        return squeezed[mine]
    for habit in _HABITS.get(mine, ()):
        if habit in squeezed.values():
            return habit
    found = difflib.get_close_matches(mine, squeezed, 1, cutoff=0.7)
    return squeezed[found[0]] if found else ""
