"""Misbehaviour on demand: what the real service does now and then, made to happen when a test wants it.

Three kinds, told apart by their keys (docs/local-batch.md has examples of each):

- a *call* fault has ``method``: a status before or after the effect, a lost answer, a delay;
- a *job* fault has ``refuse``, ``stay``, ``exit_code``, ``late`` or ``hidden``: no task ever run, a state that stays, a
  task that is lost with its VM, log entries that come late;
- a *quota* has ``reads_per_minute``: more ``entries.list`` in a minute are answered with RESOURCE_EXHAUSTED.

``job`` is a pattern (``train-*``) of job ids or full names. Chance comes from a seed: the same calls in the same order
meet the same faults.
"""

from __future__ import annotations

import asyncio
import fnmatch
import itertools
import json
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import grpc
from google.api_core import exceptions as gax

from airflow_batchstream.emulator.api import AnswerLost, Handler
from airflow_batchstream.emulator.surface import Rpc

_ACTS = "refuse, stay, exit_code, late, hidden, reads_per_minute"
STATES = ("QUEUED", "SCHEDULED", "RUNNING", "CANCELLATION_IN_PROGRESS", "DELETION_IN_PROGRESS")


class FaultError(ValueError):
    """A fault that makes no sense."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    :param method: of which calls (``CreateJob``, ``*``).
    :param job: of which jobs: a pattern of the id or the full name; in ``ListLogEntries`` of a uid in the filter.
    :param status: gRPC's name of the status that the call is answered with, ``before`` or ``after`` it took effect
        (``when``).
    :param lost: the call takes effect, then its connection closes without an answer.
    :param delay: seconds that the answer is held back.
    :param refuse: why the job ends before any of its tasks runs: from QUEUED, or from the state ``refuse_in``.
    :param exit_code: an attempt of a task ends with it ``delay`` seconds after its start, whatever it is doing: 50001
        is a preempted VM.
    :param stay: a state that the job stays in for ``seconds``; ``says`` is the status event that explains it.
    :param late: at most so many seconds until Cloud Logging receives an entry; ``hidden`` until it can then be found.
    :param reads_per_minute: the quota of ``entries.list``.
    :param skip: so many that match are spared first; then it happens ``times`` times (0: always), with ``chance``.
    """

    method: str = ""
    job: str = "*"
    status: str = ""
    message: str = ""
    when: str = "before"
    lost: bool = False
    delay: float = 0.0
    refuse: str = ""
    refuse_in: str = "QUEUED"
    exit_code: int = 0
    stay: str = ""
    seconds: float = 3600.0
    says: str = ""
    late: float = 0.0
    hidden: float = 0.0
    reads_per_minute: int = 0
    skip: int = 0
    times: int = 0
    chance: float = 1.0

    @classmethod
    def read(cls, data: Any) -> Fault:
        """From JSON; :class:`FaultError` for a key, type or value that is not known."""
        if not isinstance(data, Mapping):
            raise FaultError(f"A fault is an object, not {data!r}.")
        kinds = {f.name: type(f.default) for f in fields(cls)}
        for key, value in data.items():
            if key not in kinds:
                raise FaultError(f"A fault has no key {key!r}; there are {', '.join(kinds)}.")
            allowed = (int, float) if kinds[key] is float else (kinds[key],)
            if not isinstance(value, allowed) or (isinstance(value, bool) and kinds[key] is not bool):
                raise FaultError(f"{key}: {value!r} is not of type {kinds[key].__name__}.")
        fault = cls(**data)
        fault._check()
        return fault

    def _check(self) -> None:
        acts = (self.refuse, self.stay, self.exit_code, self.late, self.hidden, self.reads_per_minute)
        if self.method and any(acts):
            raise FaultError(f"method is for faults of calls; it does not go with {_ACTS}.")
        if self.method and not (self.status or self.lost or self.delay):
            raise FaultError("A fault of a call needs status, lost or delay.")
        if not self.method and not any(acts):
            raise FaultError(f"A fault needs method, or one of {_ACTS}.")
        if self.status and self.status not in grpc.StatusCode.__members__:
            raise FaultError(f"status {self.status!r} is none of {', '.join(grpc.StatusCode.__members__)}.")
        if self.when not in ("before", "after"):
            raise FaultError(f"when is {self.when!r}: write before or after.")
        if self.refuse_in not in ("QUEUED", "SCHEDULED"):
            raise FaultError(f"refuse_in is {self.refuse_in!r}: write QUEUED or SCHEDULED.")
        if self.stay and self.stay not in STATES:
            raise FaultError(f"stay is {self.stay!r}: write one of {', '.join(STATES)}.")


@dataclass(slots=True)
class _Active:
    """A fault under way, and how often it was met and happened."""

    fault: Fault
    met: int = 0
    happened: int = 0


class Faults:
    """All faults of one local Batch.

    :param seed: of everything that is left to chance.
    """

    def __init__(self, seed: int = 0) -> None:
        self._active: dict[int, _Active] = {}
        self._ids = itertools.count(1)
        self._random = random.Random(seed)
        self._reads: deque[float] = deque()

    def load(self, path: Path) -> None:
        """Read a file: a list of faults, or an object with ``faults`` and ``seed``. JSON or YAML."""
        import yaml

        data = yaml.safe_load(path.read_text())
        if isinstance(data, Mapping):
            self._random.seed(data.get("seed", 0))
            data = data.get("faults", [])
        for item in data or []:
            self.add(Fault.read(item))

    def add(self, fault: Fault) -> int:
        """Let it happen from now on; its number."""
        number = next(self._ids)
        self._active[number] = _Active(fault)
        return number

    def remove(self, number: int | None = None) -> None:
        """One fault, or all of them."""
        if number is None:
            self._active.clear()
        else:
            self._active.pop(number, None)

    def as_list(self) -> list[dict[str, Any]]:
        """JSON-ready, with how often each has happened."""
        return [
            {"id": number, "met": a.met, "happened": a.happened, **_told(a.fault)} for number, a in self._active.items()
        ]

    async def call(self, rpc: Rpc, request: Any, handler: Handler) -> Any:
        """Answer a call, or let it go wrong."""
        self._quota(rpc)
        faults = list(self._due(lambda f: bool(f.method) and fnmatch.fnmatch(rpc.name, f.method), _subjects(request)))
        for fault in faults:
            if fault.status and fault.when == "before":
                await asyncio.sleep(fault.delay)
                raise _error(fault)
        answer = await handler(request)
        for fault in faults:
            await asyncio.sleep(fault.delay)
            if fault.lost:
                raise AnswerLost
            if fault.status:
                raise _error(fault)
        return answer

    def refusal(self, name: str, state: str) -> str:
        """Why this job ends in this state, before any of its tasks runs, or empty."""
        return next((f.refuse for f in self._due(lambda f: bool(f.refuse) and f.refuse_in == state, _names(name))), "")

    def lost(self, name: str) -> tuple[float, int] | None:
        """After how many seconds the next attempt of a task of this job is lost, and its exit code."""
        return next(((f.delay, f.exit_code) for f in self._due(lambda f: bool(f.exit_code), _names(name))), None)

    def stays(self, name: str, state: str) -> tuple[float, str] | None:
        """Seconds that this job stays in a state, and the status event about it."""
        return next(((f.seconds, f.says) for f in self._due(lambda f: f.stay == state, _names(name))), None)

    def entry_delays(self, name: str) -> tuple[float, float]:
        """Seconds until this job's next log entry is received, and from then until it can be found."""
        if not self._active:
            return 0.0, 0.0
        for fault in self._due(lambda f: bool(f.late or f.hidden), _names(name)):
            return self._random.uniform(0, fault.late), self._random.uniform(0, fault.hidden)
        return 0.0, 0.0

    def _due(self, kind: Any, subjects: tuple[str, ...]) -> Iterator[Fault]:
        """Faults of a kind about this job that happen now; counts them."""
        for active in list(self._active.values()):
            fault = active.fault
            if not kind(fault) or not any(fnmatch.fnmatchcase(s, fault.job) for s in subjects or ("",)):
                continue
            active.met += 1
            spent = fault.times and active.happened >= fault.times
            if active.met <= fault.skip or spent or self._random.random() >= fault.chance:
                continue
            active.happened += 1
            yield fault

    def _quota(self, rpc: Rpc) -> None:
        limits = [a for a in self._active.values() if a.fault.reads_per_minute]
        if rpc.name != "ListLogEntries" or not limits:
            return
        now = time.monotonic()
        while self._reads and self._reads[0] <= now - 60:
            self._reads.popleft()
        for active in limits:
            if len(self._reads) >= active.fault.reads_per_minute:
                active.happened += 1
                raise gax.ResourceExhausted(
                    "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service"
                    " 'logging.googleapis.com' for consumer 'project_number:0'."
                )
        self._reads.append(now)


def _told(fault: Fault) -> dict[str, Any]:
    """What of a fault is not left at its default."""
    default = asdict(Fault())
    return {key: value for key, value in asdict(fault).items() if value != default[key]}


def _names(name: str) -> tuple[str, ...]:
    return name, name.rpartition("/")[2]


def _subjects(request: Any) -> tuple[str, ...]:
    """Which job a request is about, in all ways a pattern may name it."""
    if hasattr(request, "job_id"):
        return request.job_id, f"{request.parent}/jobs/{request.job_id}"
    if hasattr(request, "filter") and hasattr(request, "resource_names"):
        return (request.filter,)
    name = getattr(request, "name", "") or getattr(request, "parent", "")
    job, _, _ = name.partition("/taskGroups/")
    return _names(job)


def _error(fault: Fault) -> gax.GoogleAPICallError:
    error = gax.from_grpc_status(
        grpc.StatusCode[fault.status], fault.message or f"Injected by the local Batch: {fault.status}"
    )
    if error.grpc_status_code is None:
        error.grpc_status_code = grpc.StatusCode[fault.status]
    return error


def faults_from(body: bytes) -> list[Fault]:
    """What was posted: one fault, or a list of them."""
    try:
        data = json.loads(body)
    except ValueError as error:
        raise FaultError(f"This is not JSON: {error}") from None
    return [Fault.read(item) for item in (data if isinstance(data, list) else [data])]
