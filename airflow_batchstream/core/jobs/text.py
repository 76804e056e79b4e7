"""What containers print, made safe to show: control characters, escape sequences, lines of any length.

Nothing that can be read is dropped: a control character becomes its picture (``NUL`` is ``␀``, a carriage return inside
a line ``␍``). Colours stay, since Airflow's log page and terminals show them; what moves a cursor or sets a title goes.
Airflow's marks of a fold become words: a container that dies between ``::group::`` and ``::endgroup::`` would fold away
all that follows it, and with it the reason of its end.
"""

from __future__ import annotations

import re

LINE_BYTES = 8192
"""Longest piece of a line, in bytes of UTF-8. Far longer ones stall Airflow's triggerer and its log page."""

CONTINUES = " ↩"
"""Ends a piece that goes on in the next record."""

CONTINUED = "↪ "
"""Begins a piece that goes on from the record before."""

_WORD_BYTES = 256
"""How far back from a cut a blank is looked for, so that no word is cut (nor a secret hidden from Airflow's masker)."""

_COLOUR = r"\[[0-9;:]*m"
_ESCAPES = re.compile(
    rf"(?P<colour>\x1b{_COLOUR})"
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: cursor, erase, modes
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS and the like: titles, links
    r"|\x1b[ -/]+[0-~]"  # character sets
    r"|\x1b[=>78cDEHM]"
)
_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x1B)}
_CONTROLS |= {0x7F: "␡"} | dict.fromkeys(range(128, 160), "�") | {0x85: "␤", 0x2028: "␤", 0x2029: "␤"}
_CONTROLS |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")  # half a character: no UTF-8 holds it
_STRAY_ESCAPE = re.compile(rf"\x1b(?!{_COLOUR})")


def clean(text: str) -> str:
    """One line, safe to show, with its colours."""
    if text.isprintable():
        return _unfolded(text)
    kept = _ESCAPES.sub(lambda found: found["colour"] or "", text.rstrip("\r\n"))
    return _unfolded(_STRAY_ESCAPE.sub("␛", kept.translate(_CONTROLS)))


def plain(text: str) -> str:
    """The same without colours, for places that do not show them: errors, mails, tables."""
    return _unfolded(_ESCAPES.sub("", clean(text)))


def _unfolded(text: str) -> str:
    return text.replace("::group::", "[group] ").replace("::endgroup::", "[endgroup]")


def pieces(text: str, most: int = LINE_BYTES) -> list[str]:
    """A cleaned line in pieces of at most ``most`` bytes, marked where they go on; no character is cut.

    :param most: bytes of UTF-8, marks included; no less than 64.
    """
    if len(text) <= most // 4 or len(rest := text.encode()) <= most:
        return [text]
    cut = list[str]()
    room = most - len((CONTINUED + CONTINUES).encode())
    while len(rest) > room:
        end = _cut_at(rest, room)
        cut.append(rest[:end].decode())
        rest = rest[end:]
    cut.append(rest.decode())
    last = len(cut) - 1
    return [(CONTINUED if n else "") + piece + (CONTINUES if n < last else "") for n, piece in enumerate(cut)]


def _cut_at(data: bytes, room: int) -> int:
    """Where to cut: behind the last blank nearby, else between two characters."""
    blank = data.rfind(b" ", max(1, room - _WORD_BYTES), room)
    if blank > 0:
        return blank + 1
    end = room
    while data[end] & 0xC0 == 0x80:  # inside a character
        end -= 1
    return end
