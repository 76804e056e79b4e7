"""Bytes for people."""

from __future__ import annotations


def size(count: int) -> str:
    """``512 B``, ``1.5 GB``, ``1,200.0 TB``: in powers of 1,000, as registries count."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} TB"
