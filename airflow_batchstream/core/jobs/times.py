"""Instants in the forms that Google's APIs and people read, without losing a nanosecond."""

from __future__ import annotations

import math
from datetime import UTC, datetime

NS = 1_000_000_000
"""Nanoseconds a second."""


def ns(seconds: float) -> int:
    """Seconds since the epoch as whole nanoseconds, rounded down: a bound of a query must never be too late."""
    return math.floor(seconds * NS)


def rfc3339(at_ns: int) -> str:
    """``2026-01-02T03:04:05.123456789Z``, exact to the nanosecond, which a float is not."""
    seconds, rest = divmod(at_ns, NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def iso(at: float | None) -> str | None:
    """Seconds since the epoch as ``2026-01-02T03:04:05.123Z``; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: float) -> str:
    """``03:04:05``, in UTC, for people."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def span(seconds: float) -> str:
    """A duration for people, in its two largest units: ``3 min 12 s``, ``2 h 5 min``, ``0.4 s``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
