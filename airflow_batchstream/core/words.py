"""Words of strangers (registries, images, libraries), made safe to quote in a line of ours."""

from __future__ import annotations

_READ, _QUOTED = 1000, 300


def printable(text: str, instead: str = "?") -> str:
    """The text without control characters: another one for each, and for whatever else is not printable.

    :param instead: that other one.
    """
    return "".join(c if c.isprintable() else instead for c in text)


def quoted(text: str) -> str:
    """The beginning of the text, on one line."""
    return " ".join(printable(text[:_READ], " ").split())[:_QUOTED]
