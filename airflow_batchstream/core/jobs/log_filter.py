"""The filter of one ``entries.list``: which entries of which jobs.

``entries.list`` can be ordered by ``timestamp`` only, and indexes that; ``receiveTimestamp`` can be filtered on all the
same, and is the axis on which no late entry is lost. So both bounds are given: the first keeps the query cheap, the
second keeps it right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from airflow_batchstream.core.jobs.lines import SEVERITIES, TASK_LOG
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.times import rfc3339

FILTER_CHARS = 20_000
"""Longest filter that Cloud Logging takes."""

UID_CHARS = 6
"""What one more uid costs beside its own characters: two quotes and `` OR ``."""

OTHER_CHARS = 1_000
"""More than all other parts of the filter need."""


def entries_filter(
    project_id: str,
    uids: Sequence[str],
    floor_ns: int,
    since_ns: int,
    until_ns: int | None = None,
    severity: str = "",
    log: str = TASK_LOG,
) -> str:
    """What ``entries.list`` is asked for.

    :param project_id: the project whose log it is.
    :param uids: the jobs' uids (not ids), at least one.
    :param floor_ns: lower bound of the entries' own time.
    :param since_ns: lower bound of the time they were received.
    :param until_ns: upper bound of that, not included; None for none.
    :param severity: the lowest severity that any of the jobs wants. Below NOTICE nothing is filtered here: plain stdout
        may be logged as DEFAULT, which Cloud Logging ranks below DEBUG.
    """
    parts = [
        f"logName={_quoted(f'projects/{project_id}/logs/{log}')}",
        f'timestamp>="{rfc3339(floor_ns)}"',
        f'receiveTimestamp>="{rfc3339(since_ns)}"',
    ]
    if until_ns is not None:
        parts.append(f'receiveTimestamp<"{rfc3339(until_ns)}"')
    named = [_quoted(uid) for uid in uids]
    parts.append(f"labels.job_uid={named[0]}" if len(named) == 1 else f"labels.job_uid=({' OR '.join(named)})")
    if SEVERITIES.get(severity, 0) >= SEVERITIES["NOTICE"]:
        parts.append(f"severity>={severity}")
    return " AND ".join(parts)


def key(line: Line) -> int:
    """What an entry is known by, within its job: log, own time and insert id, in eight bytes."""
    named = f"{line.log}\0{line.at_ns}\0{line.insert_id}".encode(errors="replace")
    return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
