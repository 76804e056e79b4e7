"""A job as the tests of the wait see it, and a series of looks at it."""

from __future__ import annotations

from airflow_batchstream.core.jobs.model import Event, JobName, Sight, State, Trouble
from airflow_batchstream.core.jobs.watch import Step, Watch, decide

JOB = JobName("shop", "europe-west1", "nightly-1a2b")
CREATED = 1_700_000_000.0
STEADY = CREATED + 3600
"""Late enough for the steady poll."""

WATCH = Watch(JOB, "uid-1", CREATED, poll_seconds=10.0)
DOWN = Trouble("UNAVAILABLE", "connection reset")
DENIED = Trouble("PERMISSION_DENIED", "batch.jobs.get denied")
NOT_FOUND = Trouble("NOT_FOUND", "no such job")


def sight(state: State, *events: Event, uid: str = "uid-1") -> Sight:
    return Sight(JOB, uid, state, CREATED, events)


def event(at: float, says: str, state: str = "") -> Event:
    return Event(CREATED + at, "STATUS_CHANGED", says, state)


def set_to(at: float, was: State, state: State) -> Event:
    """As Batch words it for jobs: without a state of its own."""
    return event(at, f"Job state is set from {was} to {state} for job projects/1/locations/europe-west1/jobs/nightly.")


def texts(step: Step) -> list[str]:
    return [news.text for news in step.news]


def look(watch: Watch, *answers: Sight | Trouble, now: float = STEADY, every: float = 1.0) -> tuple[Watch, Step]:
    """Decide over several answers in a row, ``every`` seconds apart; the last step."""
    step: Step | None = None
    for number, answer in enumerate(answers):
        watch, step = decide(watch, answer, now + number * every, 0.5)
    assert step is not None
    return watch, step
