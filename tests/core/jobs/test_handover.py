"""An outcome tells the same story after it went through a trigger's event."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_batchstream.core.jobs.handover import from_event, to_event
from airflow_batchstream.core.jobs.model import Event, JobName, Line, Sight, State, TaskSight
from airflow_batchstream.core.jobs.outcome import Outcome, closing_block, result
from airflow_batchstream.core.jobs.watch import Reason, Watch

NAME = JobName("my-project", "us-central1", "job-1")
T = 1_700_000_000.0


def said(index: int, text: str) -> Line:
    task = f"task/u-group0-{index}/0/0"
    return Line("u", "batch_task_logs", int(T) * 10**9, int(T) * 10**9, f"i{index}", "INFO", task, text)


def failed_job(tasks: int = 3) -> Outcome:
    ended = Event(T + 9, "STATUS_CHANGED", "Job state is set from RUNNING to FAILED for job x.")
    return Outcome(
        Watch(NAME, "u", T, state=State.FAILED, running_since=T + 2, timeout_at=T + 99.5, events_shown=("a", "b")),
        Reason.STATE,
        Sight(NAME, "u", State.FAILED, T, events=(ended,), counts={"FAILED": tasks}, labels={"x": "y"}),
        tasks=tuple(
            TaskSight(n, "FAILED", (Event(T + 3, "STATUS_CHANGED", "says", "FAILED", 3 + n % 2),)) for n in range(tasks)
        ),
        tail=(said(1, "the last word"), said(77, "of another task")),
        image="image:1",
        digest="sha256:1",
        streaming=True,
        streamed="full pull",
        streamed_says="Image streaming: evidence of a full pull: as a VM logged.",
        ended=T + 10,
    )


def through_json(outcome: Outcome) -> Outcome:
    return from_event(json.loads(json.dumps(to_event(outcome))))


@pytest.mark.parametrize(
    "outcome",
    [
        failed_job(),
        replace(failed_job(), reason=Reason.TIMEOUT),
        replace(failed_job(), tasks=(), tail=(), agent_tail=(said(0, "agent"),)),
        replace(failed_job(), sight=None, reason=Reason.GONE),
    ],
    ids=["failed", "timed out", "no task", "gone"],
)
def test_the_closing_block_and_the_result_are_the_same(outcome):
    assert closing_block(through_json(outcome)) == closing_block(outcome)
    assert result(through_json(outcome)) == result(outcome)


def test_a_job_of_ten_thousand_failed_tasks_makes_a_small_event():
    tail = tuple(said(n, "x" * 5000) for n in range(1000))
    assert len(json.dumps(to_event(replace(failed_job(10_000), tail=tail)))) < 120_000


def test_what_a_newer_version_adds_is_dropped():
    event = to_event(failed_job()) | {"new": 1}
    event["tasks"][0]["new"] = 2
    event["watch"]["new"] = 3
    assert result(from_event(event)) == result(failed_job())


@pytest.mark.parametrize("event", [{}, {"watch": {}}, {"watch": {"job": "x"}, "reason": "state"}, {"reason": 3}])
def test_what_is_no_event_of_ours_is_a_value_error(event):
    with pytest.raises(ValueError, match="event"):
        from_event(event)
