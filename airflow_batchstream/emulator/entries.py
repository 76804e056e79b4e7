"""Log entries in SQLite: written in batches, read in order, by key and not by offset.

Lines are collected and written together, twenty times a second. When too many wait they are written on the spot, which
holds up the program that prints them: so memory is bounded, and 10,000 lines a second are no burden.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

KEPT = 30 * 86_400 * 10**9
"""How long entries are kept, in nanoseconds: as in Cloud Logging's default bucket. Looked at when the server starts."""

FLUSH_ROWS = 2000
FLUSH_SECONDS = 0.05

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, at INTEGER, received INTEGER, visible INTEGER, project TEXT, log TEXT, severity INTEGER,
    uid TEXT, origin INTEGER, task_id TEXT, runnable TEXT, text TEXT);
CREATE INDEX IF NOT EXISTS by_job ON entries (uid, at, seq);
CREATE INDEX IF NOT EXISTS by_time ON entries (at, seq);
CREATE TABLE IF NOT EXISTS origins (id INTEGER PRIMARY KEY, labels TEXT, resource TEXT);
"""
_COLUMNS = "seq, at, received, visible, project, log, severity, uid, origin, task_id, runnable, text"


class Entry(NamedTuple):
    """One row. Times are nanoseconds since the epoch.

    :param seq: counts up; the insert id is made of it, so that lines of one instant keep their order.
    :param received: when Cloud Logging took it in; ``visible`` from when on it can be found.
    :param origin: key of the job's labels and resource, kept once a job.
    """

    seq: int
    at: int
    received: int
    visible: int
    project: str
    log: str
    severity: int
    uid: str
    origin: int
    task_id: str
    runnable: str
    text: str

    @property
    def insert_id(self) -> str:
        """Sorts as ``seq`` does."""
        return f"{self.seq:013x}b1"


@dataclass(frozen=True, slots=True)
class Origin:
    """What all entries of one job have in common: labels and monitored resource."""

    labels: Mapping[str, str]
    resource: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Span:
    """Which rows a query may find: what can be told from its filter without looking at the rows.

    :param uids: of these jobs only, or None for all.
    :param after: ``(at, seq)`` of the last row of the page before, or None.
    """

    uids: Sequence[str] | None = None
    at_least: int | None = None
    at_most: int | None = None
    received_least: int | None = None
    descending: bool = False
    after: tuple[int, int] | None = None


@dataclass(slots=True)
class Entries:
    """The log entries of a local Batch.

    :param path: the SQLite file; its folder exists.
    """

    path: Path
    _db: sqlite3.Connection = field(init=False)
    _waiting: list[Entry] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None
    _seq: int = 0
    _last_at: int = 0
    _origins: dict[int, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._db = self._connect()
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _SCHEMA)
        self._seq, self._last_at = self._db.execute(
            "SELECT COALESCE(MAX(seq), 0), COALESCE(MAX(at), 0) FROM entries"
        ).fetchone()
        self._db.execute("DELETE FROM entries WHERE at < ?", (time.time_ns() - KEPT,))
        for key, labels, resource in self._db.execute("SELECT id, labels, resource FROM origins"):
            self._origins[key] = Origin(json.loads(labels), json.loads(resource))

    def origin(self, labels: Mapping[str, str], resource: Mapping[str, object]) -> int:
        """Keep what a job's entries have in common; the key goes into each of them."""
        key = len(self._origins) + 1
        self._origins[key] = Origin(dict(labels), dict(resource))
        self._db.execute(
            "INSERT INTO origins VALUES (?, ?, ?)", (key, json.dumps(dict(labels)), json.dumps(dict(resource)))
        )
        return key

    def origin_of(self, entry: Entry) -> Origin:
        """What :meth:`origin` kept."""
        return self._origins[entry.origin]

    def write(
        self, *, project: str, log: str, severity: int, uid: str, origin: int, task_id: str, runnable: str, text: str,
        late: float = 0.0, hidden: float = 0.0,
    ) -> None:  # fmt: skip
        """Take one entry in.

        :param late: seconds until Cloud Logging receives it; ``hidden`` from then until it can be found.
        """
        self._seq += 1
        self._last_at = at = max(
            time.time_ns(), self._last_at + 1
        )  # two lines never share an instant: their order is kept
        received = at + int(late * 1e9)
        visible = received + int(hidden * 1e9)
        self._waiting.append(
            Entry(self._seq, at, received, visible, project, log, severity, uid, origin, task_id, runnable, text)
        )
        if len(self._waiting) >= FLUSH_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            rows, self._waiting = self._waiting, []
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(f"INSERT INTO entries ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
            self._db.execute("COMMIT")

    def read(self, span: Span, now: int) -> Iterator[Entry]:
        """Rows of ``span`` that can be found at ``now``, in order. For any thread: it opens its own connection."""
        db = self._connect()
        try:
            if span.uids is None:
                yield from _rows(db, span, now, None)
            else:
                streams = [_rows(db, span, now, uid) for uid in span.uids]
                yield from heapq.merge(*streams, key=_order, reverse=span.descending)
        finally:
            db.close()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None)


def _order(entry: Entry) -> tuple[int, int]:
    return entry.at, entry.seq


def _rows(db: sqlite3.Connection, span: Span, now: int, uid: str | None) -> Iterator[Entry]:
    where, values = ["visible <= ?"], [now]
    bounds: list[object] = []
    if uid is not None:
        where.append("uid = ?")
        bounds.append(uid)
    for column, bound in (
        ("at >= ?", span.at_least), ("at <= ?", span.at_most), ("received >= ?", span.received_least),
    ):  # fmt: skip
        if bound is not None:
            where.append(column)
            bounds.append(bound)
    if span.after is not None:
        where.append(f"(at, seq) {'<' if span.descending else '>'} (?, ?)")
        bounds += span.after
    order = "at DESC, seq DESC" if span.descending else "at, seq"
    sql = f"SELECT {_COLUMNS} FROM entries WHERE {' AND '.join(where)} ORDER BY {order}"
    for row in db.execute(sql, [*values, *bounds]):
        yield Entry._make(row)
