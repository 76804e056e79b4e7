"""Which deadline of a wait comes next, which has passed, and how long a pause may last before it."""

from __future__ import annotations

from airflow_batchstream.core.jobs.times import span
from airflow_batchstream.core.jobs.waits import Reason, Watch

EXECUTION_MARGIN = 5.0
"""Seconds that we act before Airflow's own ``execution_timeout`` strikes: time to cancel the job and to say why."""

QUICK_SECONDS = 2.0
"""Longest poll of a job that is being cancelled for us."""

_SHORTEST = 0.01


def words(watch: Watch, reason: Reason) -> str:
    """What a deadline that passed is called in the log, and how long it was."""
    if reason is Reason.TIMEOUT and watch.observer:
        return "the sensor's timeout has passed"  # it counts from the sensor's first look
    if reason is Reason.TIMEOUT:
        return f"timeout_seconds{_length(watch, watch.timeout_at)} has passed, counted from the job's creation"
    if reason is Reason.QUEUED_TIMEOUT:
        long = _length(watch, watch.queued_until)
        return f"queued_timeout_seconds{long} has passed, and the job was never RUNNING"
    return "the task's execution_timeout is about to strike"


def _length(watch: Watch, until: float | None) -> str:
    return f" ({span(until - watch.created)})" if until is not None and watch.created else ""


def pending(watch: Watch) -> list[tuple[float, Reason]]:
    """The deadlines that still bind, the earliest first."""
    execution_at = None if watch.execution_timeout_at is None else watch.execution_timeout_at - EXECUTION_MARGIN
    queued_until = watch.queued_until if watch.running_since is None else None
    told = (
        (watch.timeout_at, Reason.TIMEOUT),
        (execution_at, Reason.EXECUTION_TIMEOUT),
        (queued_until, Reason.QUEUED_TIMEOUT),
    )
    return sorted((at, reason) for at, reason in told if at is not None)


def passed(watch: Watch, now: float) -> Reason | None:
    """The deadline that passed first, if one did."""
    return next((reason for at, reason in pending(watch) if at <= now), None)


def cancel_until(watch: Watch) -> float:
    """When the wait for a cancelled job's end is given up: in any case before Airflow's own timer strikes."""
    until = (watch.cancel_since or 0.0) + watch.cancel_wait
    if watch.execution_timeout_at is not None:
        until = min(until, watch.execution_timeout_at - EXECUTION_MARGIN / 2)
    return until


def clipped(watch: Watch, seconds: float, now: float) -> float:
    """``seconds``, or less where a deadline comes first."""
    ends = [cancel_until(watch)] if watch.cancel_reason else [at for at, _ in pending(watch)]
    return max(_SHORTEST, min([seconds, *(at - now for at in ends)]))


def poll(watch: Watch, now: float) -> float:
    """The pause before the next look at a healthy job.

    A young job is looked at more often, as it may be refused, or over, within seconds; and so is one that we cancelled.
    """
    steady = min(watch.poll_seconds, QUICK_SECONDS) if watch.cancel_reason else watch.poll_seconds
    young = max(1.0, (now - watch.created) / 10)
    return clipped(watch, min(steady, young), now)
