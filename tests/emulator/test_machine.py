"""The pure machine: which event leads from which state to which, and what the status events say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.emulator.machine import (
    ENDED,
    TASK_ENDED,
    Assigned,
    Cancelled,
    Deleted,
    Exited,
    Job,
    Noted,
    Refused,
    RetryPolicy,
    Scheduled,
    Started,
    Stopped,
    new,
    rebooted,
    step,
)

NAME = "projects/123/locations/us-central1/jobs/j"
VM = "zones/us-central1-a/instances/7"


def job(tasks: int = 1, **policy: object) -> Job:
    return new(NAME, "j-uid", tasks, RetryPolicy(**policy), 1)  # type: ignore[arg-type]


def walk(start: Job, *events: object) -> Job:
    for now, event in enumerate(events, 2):
        start = step(start, event, now)  # type: ignore[arg-type]
    return start


def ran(exit_code: int, index: int = 0) -> tuple[object, ...]:
    return Assigned(index, VM), Started(index), Exited(index, exit_code)


class TestAJobThatSucceeds:
    def test_goes_through_all_states_and_says_so_in_batch_s_words(self) -> None:
        done = walk(job(), Scheduled(), *ran(0))
        assert done.state == "SUCCEEDED"
        assert [e.description for e in done.events] == [
            f"Job state is set from QUEUED to SCHEDULED for job {NAME}.",
            f"Job state is set from SCHEDULED to RUNNING for job {NAME}.",
            f"Job state is set from RUNNING to SUCCEEDED for job {NAME}.",
        ]
        assert [e.description for e in done.tasks[0].events] == [
            f"Task state is updated from PENDING to ASSIGNED on {VM}.",
            f"Task state is updated from ASSIGNED to RUNNING on {VM}.",
            f"Task state is updated from RUNNING to SUCCEEDED on {VM}.",
        ]
        assert done.tasks[0].events[-1].exit_code == 0

    def test_is_running_from_its_first_task_to_its_last(self) -> None:
        first = walk(job(2), Scheduled(), *ran(0, 0))
        assert first.state == "RUNNING"
        assert first.counts == {"SUCCEEDED": 1, "PENDING": 1}
        done = walk(first, *ran(0, 1))
        assert (done.state, done.started, done.ended) == ("SUCCEEDED", 3, 4)

    def test_names_the_project_by_its_number_as_batch_does(self) -> None:
        named = step(new("projects/my-project/locations/us-central1/jobs/j", "u", 1, RetryPolicy(), 1), Scheduled(), 2)
        assert "for job projects/1" in named.events[0].description
        assert "my-project" not in named.events[0].description


class TestAJobThatFails:
    def test_tells_which_task_failed_and_quotes_its_event(self) -> None:
        done = walk(job(), Scheduled(), *ran(127))
        assert done.state == "FAILED"
        assert done.events[-1].description == (
            f"Job state is set from RUNNING to FAILED for job {NAME}.Job failed due to task failure. Specifically, task"
            ' with index 0 failed due to the following task event: "Task state is updated from RUNNING to FAILED on'
            f' {VM} with exit code 127."'
        )

    def test_lets_the_other_tasks_run_and_names_the_first_that_failed(self) -> None:
        done = walk(job(3), Scheduled(), *ran(0, 0), *ran(9, 2), *ran(8, 1))
        assert done.counts == {"SUCCEEDED": 1, "FAILED": 2}
        assert "task with index 2 failed" in done.events[-1].description

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (50001, "due to Spot VM preemption with exit code 50001."),
            (50003, "due to VM is rebooted during task execution with exit code 50003."),
            (50005, "due to task runs over the maximum runtime with exit code 50005."),
        ],
    )
    def test_explains_batch_s_own_exit_codes(self, code: int, words: str) -> None:
        assert walk(job(), Scheduled(), *ran(code)).tasks[0].events[-1].description.endswith(words)

    def test_can_end_before_it_has_any_task(self) -> None:
        done = walk(job(2), Refused("CODE_GCE_QUOTA_EXCEEDED: Quota CPUS exceeded"))
        assert (done.state, done.tasks) == ("FAILED", ())
        assert [e.description for e in done.events] == [
            "CODE_GCE_QUOTA_EXCEEDED: Quota CPUS exceeded",
            f"Job state is set from QUEUED to FAILED for job {NAME}.",
        ]

    def test_can_end_before_any_task_ran(self) -> None:
        done = walk(job(2), Scheduled(), Refused("no VM has agent reporting"))
        assert (done.state, done.counts) == ("FAILED", {"UNEXECUTED": 2})
        assert [e.description for e in done.events[1:]] == [
            "no VM has agent reporting",
            f"Job state is set from SCHEDULED to SCHEDULED_PENDING_FAILED for job {NAME}.",
            f"Job state is set from SCHEDULED_PENDING_FAILED to FAILED for job {NAME}.",
        ]


class TestRetries:
    def test_a_failed_task_waits_again_until_its_retries_are_spent(self) -> None:
        once = walk(job(max_retry_count=1), Scheduled(), *ran(3))
        assert (once.state, once.tasks[0].state, once.tasks[0].attempt) == ("RUNNING", "PENDING", 1)
        twice = walk(once, *ran(4))
        assert (twice.state, twice.tasks[0].state) == ("FAILED", "FAILED")
        assert [e.exit_code for e in twice.tasks[0].events if e.exit_code] == [3, 4]

    def test_a_retry_that_succeeds_makes_a_job_that_succeeded(self) -> None:
        assert walk(job(max_retry_count=2), Scheduled(), *ran(50001), *ran(0)).state == "SUCCEEDED"

    @pytest.mark.parametrize(
        ("action", "code", "again"),
        [
            ("RETRY_TASK", 42, True),
            ("RETRY_TASK", 1, False),
            ("FAIL_TASK", 42, False),
            ("FAIL_TASK", 1, True),
            ("", 1, True),
        ],
    )
    def test_a_lifecycle_policy_decides_by_exit_code_and_the_opposite_for_all_others(
        self, action: str, code: int, again: bool
    ) -> None:
        policy = RetryPolicy(1, action, frozenset({42}))
        assert policy.retries(code, attempt=0) is again
        assert not policy.retries(code, attempt=1)


class TestCancelAndDelete:
    @pytest.mark.parametrize("events", [(), (Scheduled(),), (Scheduled(), Assigned(0, VM), Started(0))])
    def test_a_live_job_is_on_its_way_until_nothing_of_it_runs(self, events: tuple[object, ...]) -> None:
        asked = walk(job(), *events, Cancelled())
        assert asked.state == "CANCELLATION_IN_PROGRESS"
        assert step(asked, Stopped(), 99).state == "CANCELLED"

    def test_a_cancelled_task_is_not_retried_and_one_that_waited_is_unexecuted(self) -> None:
        asked = walk(job(2, max_retry_count=5), Scheduled(), Assigned(0, VM), Started(0), Cancelled(), Exited(0, 143))
        done = step(asked, Stopped(), 99)
        assert (done.state, [t.state for t in done.tasks]) == ("CANCELLED", ["FAILED", "UNEXECUTED"])

    @pytest.mark.parametrize("state", sorted(ENDED))
    def test_an_ended_job_cannot_be_cancelled_but_deleted(self, state: str) -> None:
        ended = {
            "SUCCEEDED": walk(job(), Scheduled(), *ran(0)),
            "FAILED": walk(job(), Scheduled(), *ran(1)),
            "CANCELLED": walk(job(), Cancelled(), Stopped()),
        }[state]
        assert step(ended, Cancelled(), 99) is ended
        assert step(ended, Deleted(), 99).state == "DELETION_IN_PROGRESS"


class TestARestart:
    def test_ends_what_ran_as_50003_and_keeps_what_waited(self) -> None:
        before = walk(job(3), Scheduled(), *ran(0, 0), Assigned(1, VM), Started(1))
        after = walk(before, *rebooted(before))
        assert [t.state for t in after.tasks] == ["SUCCEEDED", "FAILED", "PENDING"]
        assert after.tasks[1].events[-1].exit_code == 50003
        assert after.state == "RUNNING"

    def test_retries_what_may_be_retried(self) -> None:
        before = walk(job(max_retry_count=1), Scheduled(), Assigned(0, VM), Started(0))
        after = walk(before, *rebooted(before))
        assert (after.state, after.tasks[0].state, after.tasks[0].attempt) == ("RUNNING", "PENDING", 1)

    def test_finishes_a_cancellation(self) -> None:
        before = walk(job(), Scheduled(), Assigned(0, VM), Started(0), Cancelled())
        assert walk(before, *rebooted(before)).state == "CANCELLED"


class TestAnyOrderOfEvents:
    EVENTS = st.one_of(
        st.just(Scheduled()),
        st.just(Refused("no")),
        st.just(Noted("quota")),
        st.just(Cancelled()),
        st.just(Deleted()),
        st.just(Stopped()),
        st.builds(Assigned, st.integers(0, 2), st.just(VM)),
        st.builds(Started, st.integers(0, 2)),
        st.builds(Exited, st.integers(0, 2), st.sampled_from([0, 1, 50001])),
    )

    @given(st.lists(EVENTS, max_size=40), st.integers(0, 2))
    def test_never_leaves_an_ended_job_but_to_delete_it_and_never_loses_an_event(
        self, events: list[object], retries: int
    ) -> None:
        seen = [job(3, max_retry_count=retries)]
        for event in events:
            seen.append(walk(seen[-1], event))
        for before, after in itertools.pairwise(seen):
            assert after.events[: len(before.events)] == before.events
            if before.state in ENDED:
                assert after.state in (before.state, "DELETION_IN_PROGRESS")
            if after.state in ("SUCCEEDED", "FAILED"):
                assert all(t.state in TASK_ENDED for t in after.tasks)
            assert all(t.attempt <= retries for t in after.tasks)
