"""Jobs, tasks and operations in one SQLite file: one transaction a transition, so that a crash leaves no half state.

All live in memory too, because every call looks at them; the file is read once, at the start.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from google.cloud import batch_v1

from airflow_batchstream.emulator.machine import Job, RetryPolicy, StatusEvent, Task

JobSpec: Any = batch_v1.Job.pb()
"""The protobuf class of a job."""

REMEMBERED = 3600 * 10**9
"""How long a ``request_id`` is known, in nanoseconds: an hour, as Batch documents it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (name TEXT PRIMARY KEY, uid TEXT UNIQUE, spec BLOB, head TEXT);
CREATE TABLE IF NOT EXISTS tasks (uid TEXT, idx INTEGER, body TEXT, PRIMARY KEY (uid, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (name TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, target TEXT, at INTEGER);
"""


@dataclass(slots=True)
class Record:
    """One job: what was asked for (``spec``, as Batch keeps it) and what became of it (``job``)."""

    spec: Any
    job: Job


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation: the answer of ``cancel`` and ``delete``.

    :param target: the job's name; ``verb`` is ``cancel`` or ``delete``; ``ended`` is 0 until it is done.
    """

    name: str
    target: str
    verb: str
    created: int
    ended: int = 0


@dataclass(slots=True)
class Store:
    """The state of a local Batch.

    :param path: the SQLite file; its folder exists.
    """

    path: Path
    jobs: dict[str, Record] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    _db: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self._db = sqlite3.connect(self.path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
        for record in self._read():
            self.jobs[record.job.name] = record
        for (body,) in self._db.execute("SELECT body FROM operations"):
            operation = Operation(**json.loads(body))
            self.operations[operation.name] = operation

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def create(self, record: Record, request_id: str, now: int) -> None:
        """Keep a new job, and under which ``request_id`` it came."""
        job = record.job
        with self._transaction():
            self._db.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?)", (job.name, job.uid, record.spec.SerializeToString(), _head(job))
            )
            self._write_tasks(job, job.tasks)
            self._remember(request_id, job.name, now)
        self.jobs[job.name] = record

    def save(self, record: Record, job: Job) -> None:
        """Replace a job's state: only the tasks that changed are written."""
        before = record.job.tasks
        changed = [task for i, task in enumerate(job.tasks) if i >= len(before) or task is not before[i]]
        with self._transaction():
            self._db.execute("UPDATE jobs SET head = ? WHERE name = ?", (_head(job), job.name))
            self._write_tasks(job, changed)
            if len(job.tasks) < len(before):
                self._db.execute("DELETE FROM tasks WHERE uid = ? AND idx >= ?", (job.uid, len(job.tasks)))
        record.job = job

    def remove(self, job: Job) -> None:
        """Forget a job that was deleted; its log entries stay, as in Cloud Logging."""
        with self._transaction():
            self._db.execute("DELETE FROM jobs WHERE name = ?", (job.name,))
            self._db.execute("DELETE FROM tasks WHERE uid = ?", (job.uid,))
        self.jobs.pop(job.name, None)

    def put_operation(self, operation: Operation, request_id: str = "", now: int = 0) -> None:
        """Keep an operation, new or changed."""
        with self._transaction():
            self._db.execute("REPLACE INTO operations VALUES (?, ?)", (operation.name, json.dumps(asdict(operation))))
            self._remember(request_id, operation.name, now)
        self.operations[operation.name] = operation

    def remove_operation(self, name: str) -> None:
        """Forget an operation; the job it is about is not touched."""
        with self._transaction():
            self._db.execute("DELETE FROM operations WHERE name = ?", (name,))
        self.operations.pop(name, None)

    def remembered(self, request_id: str, now: int) -> str:
        """The job's or operation's name that this ``request_id`` led to within the last hour, or empty."""
        if not request_id:
            return ""
        found = self._db.execute(
            "SELECT target FROM requests WHERE id = ? AND at > ?", (request_id, now - REMEMBERED)
        ).fetchone()
        return str(found[0]) if found else ""

    def _remember(self, request_id: str, target: str, now: int) -> None:
        if request_id:
            self._db.execute("DELETE FROM requests WHERE at <= ?", (now - REMEMBERED,))
            self._db.execute("REPLACE INTO requests VALUES (?, ?, ?)", (request_id, target, now))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _write_tasks(self, job: Job, tasks: list[Task] | tuple[Task, ...]) -> None:
        rows = [(job.uid, t.index, json.dumps(asdict(t))) for t in tasks]
        self._db.executemany("REPLACE INTO tasks VALUES (?, ?, ?)", rows)

    def _read(self) -> Iterator[Record]:
        rows = self._db.execute("SELECT uid, spec, head FROM jobs").fetchall()
        for uid, spec, head in rows:
            bodies = self._db.execute("SELECT body FROM tasks WHERE uid = ? ORDER BY idx", (uid,))
            tasks = tuple(_task(json.loads(body)) for (body,) in bodies)
            yield Record(JobSpec.FromString(spec), _job(json.loads(head), tasks))


@dataclass(slots=True)
class _Transaction:
    """``BEGIN IMMEDIATE`` ... ``COMMIT``, or ``ROLLBACK`` on an error."""

    db: sqlite3.Connection

    def __enter__(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self.db.execute("ROLLBACK" if kind else "COMMIT")


def _head(job: Job) -> str:
    """All of a job but its tasks, as JSON."""
    plain = {name: getattr(job, name) for name in job.__slots__ if name not in ("tasks", "policy", "events")}
    policy = asdict(job.policy) | {"exit_codes": sorted(job.policy.exit_codes)}
    return json.dumps(plain | {"policy": policy, "events": [asdict(e) for e in job.events]})


def _job(head: dict[str, Any], tasks: tuple[Task, ...]) -> Job:
    policy = head.pop("policy")
    policy["exit_codes"] = frozenset(policy["exit_codes"])
    events = tuple(StatusEvent(**e) for e in head.pop("events"))
    first = tuple(head.pop("first_failure"))
    return Job(**head, tasks=tasks, policy=RetryPolicy(**policy), events=events, first_failure=first)


def _task(plain: dict[str, Any]) -> Task:
    events = tuple(StatusEvent(**e) for e in plain.pop("events"))
    return Task(**plain, events=events)
