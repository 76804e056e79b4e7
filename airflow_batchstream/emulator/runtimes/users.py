"""Who a container's command runs as: an image's ``USER``, looked up in its own ``/etc/passwd`` and ``/etc/group``."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_batchstream.emulator.runtimes.rootfs import View


@dataclass(frozen=True, slots=True)
class Identity:
    """A user by numbers.

    :param groups: supplementary groups.
    :param home: for ``HOME`` where the environment has none.
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(user: str, view: View) -> Identity:
    """Read an image's user.

    :param user: ``""`` (root), ``1000``, ``1000:1000``, ``name``, ``name:group``.
    :raises ValueError: for a name that the image does not know, in a sentence.
    """
    who, colon, group = (user or "0").partition(":")
    passwd = [line.split(":") for line in view.read("etc/passwd").decode(errors="replace").splitlines()]
    entries = [p for p in passwd if len(p) >= 6 and p[2].isdigit() and p[3].isdigit()]
    entry = next((p for p in entries if p[0] == who), None)
    if entry is None and who.isdigit():
        entry = next((p for p in entries if int(p[2]) == int(who)), [who, "", who, "0", "", "/"])
    if entry is None:
        raise ValueError(f"the image has no user {who!r} in its /etc/passwd")
    lines = [line.split(":") for line in view.read("etc/group").decode(errors="replace").splitlines()]
    groups = [g for g in lines if len(g) >= 4 and g[2].isdigit()]
    if colon:
        return Identity(int(entry[2]), _group(group, groups), (), entry[5] or "/")
    more = tuple(int(g[2]) for g in groups if entry[0] in g[3].split(","))
    return Identity(int(entry[2]), int(entry[3]), more, entry[5] or "/")


def _group(name: str, groups: list[list[str]]) -> int:
    if name.isdigit():
        return int(name)
    for group in groups:
        if group[0] == name:
            return int(group[2])
    raise ValueError(f"the image has no group {name!r} in its /etc/group")
