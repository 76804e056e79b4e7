"""What a job's status events tell: which state, when, and whether it should catch the eye."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable

from airflow_batchstream.core.jobs.model import Event, State

_SET = re.compile(r"\bfrom\s+[A-Z_]+\s+to\s+([A-Z_]+)")
_RESOURCE = re.compile(r"\b(?:projects|zones)/\S+")
_OF_JOB = re.compile(r"\s+for job projects/[^/\s]+/locations/[^/\s]+/jobs/(?P<job>[a-z0-9-]+)\.?")
_ALARMING = (
    "fail",
    "error",
    "quota",
    "exceed",
    "exhaust",
    "unavailable",
    "not available",
    "preempt",
    "denied",
    "stockout",
)


def state_told(event: Event) -> str:
    """The state that an event says the job is in now, or empty.

    Batch fills an event's state for tasks only; a job's event has it in its words: ``Job state is set from QUEUED to
    SCHEDULED for job ...``.
    """
    if event.state:
        return event.state
    found = _SET.search(event.says)
    return found[1] if found and found[1] in State.__members__ else ""


def short(event: Event, job_id: str) -> str:
    """An event's words without this job's own name, which each of its events repeats in full; another job's stays.

    ``... set from RUNNING to FAILED for job projects/1/locations/us-central1/jobs/night.Job failed due to ...`` becomes
    ``... set from RUNNING to FAILED. Job failed due to ...``.
    """

    def without(found: re.Match[str]) -> str:
        if found["job"] != job_id:
            return found[0]
        return ". " if event.says[found.end() :].strip() else "."

    return _OF_JOB.sub(without, event.says)


def when(events: Iterable[Event], state: State) -> float | None:
    """When the job first came into a state, as far as its events tell."""
    return min((e.at for e in events if state_told(e) == state), default=None)


def mark(event: Event) -> str:
    """What an event is known by, in few characters: its time and words. Its place in Batch's list may change."""
    return hashlib.blake2b(f"{event.at!r}\0{event.kind}\0{event.says}".encode(), digest_size=6).hexdigest()


def level(event: Event) -> int:
    """A quota stall or a lost VM is a warning: nothing else tells of it while the job waits."""
    says = _RESOURCE.sub("", event.says).lower()  # a job may be called quota-report
    return logging.WARNING if any(word in says for word in _ALARMING) else logging.INFO
