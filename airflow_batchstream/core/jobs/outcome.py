"""What became of a job: the result that XCom carries, the closing block of the task log, and the error to raise.

Last in the flow: Watch -> hub -> :class:`Outcome` -> :func:`finish`. Operator, trigger and ``execute_complete`` ask the
same functions, so they cannot tell different stories. The job's state decides; exit codes only explain, as a Spot
attempt that was preempted and succeeded later is a success.
"""

from __future__ import annotations

from typing import Any

from airflow_batchstream.core.errors import ApiRefused, JobCancelled, JobFailed, JobTimedOut, StateMissed
from airflow_batchstream.core.jobs import report
from airflow_batchstream.core.jobs.ends import Outcome
from airflow_batchstream.core.jobs.failures import exit_codes
from airflow_batchstream.core.jobs.model import State
from airflow_batchstream.core.jobs.streamed import Streamed
from airflow_batchstream.core.jobs.times import iso
from airflow_batchstream.core.jobs.waits import DEADLINES, Reason

__all__ = ["DELETED", "Outcome", "closing_block", "finish", "result"]

DELETED = "DELETED"
"""The ``state`` of a job that Batch does not know any more; none of its own states says that."""

MESSAGE_BYTES = 4096
"""Longest message of an error: it goes through Airflow's database and into people's alerts."""


def result(outcome: Outcome) -> dict[str, Any]:
    """The small dict of XCom ``batch_job``: no spec, no environment, nothing of unbounded size.

    ``exit_codes`` maps the index of a failed task to its code: at most a hundred tasks, every distinct code among them.
    ``streamed`` is a word of :class:`Streamed`, None for a plain job. Times are ISO 8601 in UTC, or None.
    """
    watch, job = outcome.watch, outcome.watch.job
    state = DELETED if outcome.reason is Reason.GONE else str(outcome.state or State.STATE_UNSPECIFIED)
    return {
        "name": str(job),
        "uid": watch.uid,
        "project_id": job.project_id,
        "region": job.region,
        "state": state,
        "image": outcome.image,
        "digest": outcome.digest,
        "streaming": outcome.streaming,
        "streamed": (outcome.streamed or str(Streamed.REQUESTED)) if outcome.streaming else None,
        "created": iso(watch.created or None),
        "started": iso(outcome.started_at),
        "ended": iso(outcome.ended_at),
        "task_counts": dict(outcome.sight.counts) if outcome.sight else {},
        "exit_codes": exit_codes(outcome.failed),
        "console_url": job.console_url,
    }


def closing_block(outcome: Outcome, *, tail: int = 20) -> list[str]:
    """The last lines of the task log: what happened, why, what it costs, where to look.

    :param tail: most lines of the containers that are shown once more.
    """
    return report.block(outcome, tail)


def finish(outcome: Outcome) -> dict[str, Any]:
    """The result of a job that succeeded, or is in the state that was waited for; for all else the error that says why,
    and whether a retry can help.
    """
    if outcome.succeeded:
        return result(outcome)
    message, job = _message(outcome), result(outcome)
    if outcome.reason in DEADLINES:
        raise JobTimedOut(message, job=job)
    if outcome.reason is Reason.REFUSED:
        code = outcome.watch.error_code or "UNKNOWN"
        raise ApiRefused(message, code=code, retryable=code == "UNAUTHENTICATED")
    if outcome.reason is Reason.STATE and outcome.state is State.FAILED:
        raise JobFailed(message, job=job)
    if outcome.reason is Reason.STATE and outcome.state is State.SUCCEEDED:
        raise StateMissed(message, job=job)
    raise JobCancelled(message, job=job)


def _message(outcome: Outcome) -> str:
    """A few lines: the closing block, which the task log shows right before them, tells all."""
    message = report.brief(outcome)
    if len(message.encode()) <= MESSAGE_BYTES:
        return message
    cut = message.encode()[: MESSAGE_BYTES - len("…".encode())]
    return cut.decode(errors="ignore") + "…"
