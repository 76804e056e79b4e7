"""From a log entry to the records of Airflow's task log."""

from __future__ import annotations

import re

_TASK = re.compile(r"task/.+-(?P<group>group\d+)-(?P<index>\d+)/(?P<attempt>\d+)(?:/\d+)?")


def tag(task_id: str) -> str:
    """``task/<job uid>-group0-3/0/0`` -> ``group0.3``; empty for what is no task id."""
    found = _TASK.fullmatch(task_id)
    if not found:
        return ""
    attempt = int(found["attempt"])
    return f"{found['group']}.{found['index']}" + (f".retry{attempt}" if attempt else "")


def task_index(task_id: str) -> int | None:
    """``BATCH_TASK_INDEX`` of the task that printed."""
    found = _TASK.fullmatch(task_id)
    return int(found["index"]) if found else None


def clean(text: str) -> str:
    """Safe to show."""
    return text.rstrip("\r\n")
