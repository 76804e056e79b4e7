"""What Batch made of the job it was sent: shown in the task log, without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.schema import conform, short
from airflow_batchstream.core.jobs.secrecy import MASK, SECRET_FIELDS

FILLED = ": not set -> "
"""Marks a line about a field that the sender had left to Batch."""

MOST = 50
"""Lines; a job of thousands of task environments may come back changed in each."""


def changes(sent: Spec, got: Spec) -> list[str]:
    """What differs between the job that was sent and the one that Batch holds, one line each, in the job's order.

    What means the same to Batch is no change: ``false`` for a field that is unset, ``"60s"`` and ``"60.0s"``.
    """
    before, after = (dict(_leaves("", conform(spec)[0], False)) for spec in (sent, got))
    lines = []
    for path in [*before, *(path for path in after if path not in before)]:
        (old, hidden), (new, _) = before.get(path, (None, False)), after.get(path, (None, False))
        hidden = hidden or after.get(path, (None, False))[1]
        if old == new:
            continue
        was = MASK if hidden else short(old)
        now = "removed" if path not in after else MASK if hidden else short(new)
        lines.append(f"{path}: {was} -> {now}" if path in before else f"{path}{FILLED}{now}")
    return lines if len(lines) <= MOST else [*lines[:MOST], f"... and {len(lines) - MOST} more"]


def _leaves(path: str, value: Any, hidden: bool) -> Iterator[tuple[str, tuple[Any, bool]]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if not (key == "enableImageStreaming" and inner is False):
                yield from _leaves(f"{path}.{key}" if path else key, inner, hidden or key in SECRET_FIELDS)
    elif isinstance(value, list) and value and all(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner, hidden)
    elif value != {} or path.endswith("barrier"):
        yield path, (value, hidden)
