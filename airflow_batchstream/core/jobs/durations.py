"""Durations as people write them, and as Batch wants them: ``"3600s"``."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation

LONGEST = Decimal(315_576_000_000)
"""Seconds: the limit of ``google.protobuf.Duration``, 10,000 years."""

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WORDS = re.compile(
    r"(?:(?P<d>[0-9.]+)\s*d(?:ays?)?)?\s*(?:(?P<h>[0-9.]+)\s*h(?:ours?|rs?)?)?\s*"
    r"(?:(?P<m>[0-9.]+)\s*m(?:in(?:utes?|s)?)?)?\s*(?:(?P<s>[0-9.]+)\s*s(?:ec(?:onds?|s)?)?)?",
    re.ASCII | re.IGNORECASE,
)


def seconds(value: object) -> Decimal:
    """Read a duration exactly.

    :param value: ``"3600s"``, ``"1.5s"``, ``"90m"``, ``"1h30m"``, seconds as a number or as the text of one, a
        :class:`~datetime.timedelta`, a protobuf ``Duration`` or its dict ``{"seconds": 60, "nanos": 0}``.
    :raises ValueError: with words, for anything else, for a negative one and for one above the limit of protobuf.
    """
    found = _read(value)
    if found is None or not found.is_finite():
        raise ValueError('is no duration; write seconds with an s, such as "3600s", or "90m", "1h30m"')
    if found < 0:
        raise ValueError("is negative; a duration is zero or more")
    if found > LONGEST:
        raise ValueError(f"is longer than protobuf can hold ({LONGEST} s)")
    return round(found, 9)


def _read(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, timedelta):
        return Decimal(value // timedelta(microseconds=1)) / 1_000_000
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, str):
        return _text(value.strip())
    parts = value if isinstance(value, dict) else {n: getattr(value, n, None) for n in ("seconds", "nanos")}
    if set(parts) <= {"seconds", "nanos"} and isinstance(parts.get("seconds"), int | str):
        whole, nanos = _number(str(parts["seconds"])), _number(str(parts.get("nanos") or 0))
        return None if whole is None or nanos is None else whole + nanos / 1_000_000_000
    return None


def _text(text: str) -> Decimal | None:
    if len(text) > 100:
        return None
    if (plain := _number(text.removesuffix("s").rstrip())) is not None:
        return plain
    found = _WORDS.fullmatch(text)
    parts = {unit: _number(number) for unit, number in found.groupdict().items() if number} if found else {}
    if not parts or None in parts.values():
        return None
    return sum((number * _UNITS[unit] for unit, number in parts.items() if number is not None), Decimal(0))


def _number(text: str) -> Decimal | None:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def written(length: Decimal) -> str:
    """The canonical form: ``Decimal("1.50")`` -> ``"1.5s"``."""
    text = f"{length:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "s"
