"""Deadlines of the wait, and the cancel that they lead to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from watching import CREATED, DENIED, DOWN, NOT_FOUND, STEADY, WATCH, look, set_to, sight, texts

from airflow_batchstream.core.jobs.model import State, Trouble
from airflow_batchstream.core.jobs.watch import (
    EXECUTION_MARGIN,
    Cancel,
    Ended,
    Reason,
    Step,
    Wait,
    Watch,
    after_cancel,
    decide,
)


class TestDeadlines:
    @pytest.mark.parametrize(
        ("field", "reason"),
        [("timeout_at", Reason.TIMEOUT), ("queued_until", Reason.QUEUED_TIMEOUT)],
    )
    def test_each_cancels_the_job_first(self, field: str, reason: Reason) -> None:
        at: dict[str, Any] = {field: STEADY}
        watch, step = look(replace(WATCH, **at), sight(State.QUEUED), now=STEADY - 0.01)
        assert isinstance(step, Wait)
        watch, step = look(watch, sight(State.QUEUED), now=STEADY)
        assert isinstance(step, Cancel)
        assert step.reason is reason
        assert field.split("_")[0] in texts(step)[-1]

    def test_execution_timeout_is_acted_on_before_airflow_strikes(self) -> None:
        watch = replace(WATCH, execution_timeout_at=STEADY)
        assert isinstance(look(watch, sight(State.RUNNING), now=STEADY - EXECUTION_MARGIN - 0.1)[1], Wait)
        _, step = look(watch, sight(State.RUNNING), now=STEADY - EXECUTION_MARGIN)
        assert isinstance(step, Cancel)
        assert step.reason is Reason.EXECUTION_TIMEOUT

    def test_the_earliest_one_is_the_reason(self) -> None:
        watch = replace(WATCH, timeout_at=STEADY - 1, queued_until=STEADY - 2, execution_timeout_at=STEADY + 1)
        assert look(watch, sight(State.QUEUED))[1].reason is Reason.EXECUTION_TIMEOUT  # type: ignore[union-attr]
        watch = replace(watch, execution_timeout_at=None)
        assert look(watch, sight(State.QUEUED))[1].reason is Reason.QUEUED_TIMEOUT  # type: ignore[union-attr]

    def test_a_job_that_ended_meanwhile_wins(self) -> None:
        watch = replace(WATCH, timeout_at=STEADY - 100)
        for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
            _, step = look(watch, sight(state))
            assert isinstance(step, Ended)
            assert step.reason is Reason.STATE

    def test_they_pass_while_batch_does_not_answer(self) -> None:
        _, step = look(replace(WATCH, timeout_at=STEADY), DOWN)
        assert isinstance(step, Cancel)

    def test_without_cancel_on_timeout_the_wait_ends_at_once_and_the_job_lives_on(self) -> None:
        watch = replace(WATCH, timeout_at=STEADY, cancel_on_timeout=False)
        watch, step = look(watch, sight(State.RUNNING))
        assert isinstance(step, Ended)
        assert step.reason is Reason.TIMEOUT
        assert watch.cancel_reason == ""

    def test_a_job_whose_end_was_asked_for_already_is_not_cancelled_again(self) -> None:
        watch = replace(WATCH, timeout_at=STEADY)
        _, step = look(watch, sight(State.CANCELLATION_IN_PROGRESS))
        assert isinstance(step, Ended)
        assert step.reason is Reason.TIMEOUT


class TestQueuedDeadline:
    WATCH = replace(WATCH, queued_until=STEADY)

    def test_running_lifts_it(self) -> None:
        watch, _ = look(self.WATCH, sight(State.RUNNING), now=STEADY - 1)
        assert isinstance(look(watch, sight(State.RUNNING), now=STEADY + 1)[1], Wait)

    def test_it_stays_lifted_when_the_job_is_scheduled_again(self) -> None:
        watch, _ = look(self.WATCH, sight(State.RUNNING), now=STEADY - 1)
        assert isinstance(look(watch, sight(State.SCHEDULED), now=STEADY + 1)[1], Wait)

    def test_an_event_that_tells_of_running_lifts_it_too(self) -> None:
        ran = set_to(5, State.SCHEDULED, State.RUNNING)
        watch, step = look(self.WATCH, sight(State.CANCELLATION_IN_PROGRESS, ran), now=STEADY + 1)
        assert isinstance(step, Wait)
        assert watch.running_since == CREATED + 5

    def test_a_job_that_ran_twice_runs_since_the_first_time(self) -> None:
        ran = (set_to(5, State.SCHEDULED, State.RUNNING), set_to(50, State.SCHEDULED, State.RUNNING))
        assert look(self.WATCH, sight(State.RUNNING, *ran))[0].running_since == CREATED + 5

    def test_running_found_too_late_still_counts(self) -> None:
        assert isinstance(look(self.WATCH, sight(State.RUNNING), now=STEADY + 5)[1], Wait)

    def test_scheduled_does_not_lift_it(self) -> None:
        assert isinstance(look(self.WATCH, sight(State.SCHEDULED))[1], Cancel)


class TestCancelling:
    @staticmethod
    def cancelling(**settings_: Any) -> Watch:
        watch, step = look(replace(WATCH, timeout_at=STEADY, **settings_), sight(State.RUNNING))
        assert isinstance(step, Cancel)
        return watch

    def test_the_end_of_a_job_that_we_cancelled_has_the_deadline_as_reason(self) -> None:
        watch, step = after_cancel(self.cancelling(), None, STEADY + 1, 0.5)
        assert 0 < step.seconds <= 2
        watch, step2 = look(watch, sight(State.CANCELLATION_IN_PROGRESS), now=STEADY + 3)
        assert isinstance(step2, Wait)
        _, step2 = look(watch, sight(State.CANCELLED), now=STEADY + 5)
        assert isinstance(step2, Ended)
        assert step2.reason is Reason.TIMEOUT

    def test_a_job_that_succeeded_before_the_cancel_reached_it_succeeded(self) -> None:
        watch, _ = after_cancel(self.cancelling(), None, STEADY + 1, 0.5)
        assert look(watch, sight(State.SUCCEEDED), now=STEADY + 3)[1].reason is Reason.STATE  # type: ignore[union-attr]

    def test_one_that_failed_before_the_cancel_reached_it_failed(self) -> None:
        watch, _ = after_cancel(self.cancelling(), None, STEADY + 1, 0.5)
        assert look(watch, sight(State.FAILED), now=STEADY + 3)[1].reason is Reason.STATE  # type: ignore[union-attr]

    def test_a_job_cancelled_by_another_before_our_cancel_was_taken_is_told_by_its_state(self) -> None:
        assert look(self.cancelling(), sight(State.CANCELLED))[1].reason is Reason.STATE  # type: ignore[union-attr]

    def test_a_cancel_that_failed_is_tried_again_after_the_next_look(self) -> None:
        watch, wait = after_cancel(self.cancelling(), DOWN, STEADY + 1, 0.5)
        assert wait.seconds == 1
        assert "could not be cancelled (UNAVAILABLE" in texts(wait)[0]
        watch, step = look(watch, sight(State.RUNNING), now=STEADY + 2)
        assert isinstance(step, Cancel)
        watch, _ = after_cancel(watch, None, STEADY + 3, 0.5)
        assert (watch.cancel_sent_at, watch.cancel_error) == (STEADY + 3, "")

    def test_it_is_tried_again_while_looking_fails_too(self) -> None:
        watch, _ = after_cancel(self.cancelling(), DOWN, STEADY + 1, 0.5)
        assert isinstance(look(watch, DOWN, now=STEADY + 2)[1], Cancel)

    @pytest.mark.parametrize("code", ["FAILED_PRECONDITION", "NOT_FOUND"])
    def test_a_cancel_that_came_too_late_is_not_tried_again(self, code: str) -> None:
        watch, _ = after_cancel(self.cancelling(), Trouble(code, ""), STEADY + 1, 0.5)
        assert isinstance(look(watch, sight(State.CANCELLATION_IN_PROGRESS), now=STEADY + 2)[1], Wait)

    def test_a_cancelled_job_that_is_not_found_has_ended(self) -> None:
        watch, _ = after_cancel(self.cancelling(), None, STEADY + 1, 0.5)
        _, step = look(watch, NOT_FOUND, now=STEADY + 3)
        assert isinstance(step, Ended)
        assert step.reason is Reason.TIMEOUT

    def test_a_job_that_is_gone_before_the_cancel_was_taken_was_deleted_by_another(self) -> None:
        watch, _ = after_cancel(self.cancelling(), DOWN, STEADY + 1, 0.5)
        _, step = look(watch, NOT_FOUND, NOT_FOUND, now=STEADY + 3, every=6)
        assert isinstance(step, Ended)
        assert step.reason is Reason.GONE

    def test_the_wait_for_its_end_is_bounded(self) -> None:
        watch, _ = after_cancel(self.cancelling(cancel_wait=60), None, STEADY + 1, 0.5)
        assert isinstance(look(watch, sight(State.RUNNING), now=STEADY + 59)[1], Wait)
        _, step = look(watch, sight(State.RUNNING), now=STEADY + 60)
        assert isinstance(step, Ended)
        assert step.reason is Reason.TIMEOUT
        assert step.sight is not None

    def test_so_is_the_wait_for_a_cancel_that_is_never_taken(self) -> None:
        watch, now, tries = self.cancelling(cancel_wait=60), STEADY, 0
        step: Step = Cancel(Reason.TIMEOUT)
        while isinstance(step, Cancel):
            tries += 1
            watch, wait = after_cancel(watch, DENIED, now, 0.5)
            now += wait.seconds
            watch, step = decide(watch, sight(State.RUNNING), now, 0.5)
        assert isinstance(step, Ended)
        assert now == pytest.approx(STEADY + 60)
        assert tries >= 5
        assert watch.cancel_error.startswith("PERMISSION_DENIED")

    def test_it_leaves_airflows_own_timer_time_to_be_overtaken(self) -> None:
        watch = replace(WATCH, execution_timeout_at=STEADY + EXECUTION_MARGIN)
        watch, step = look(watch, sight(State.RUNNING))
        assert isinstance(step, Cancel)
        watch, wait = after_cancel(watch, None, STEADY + 0.2, 0.5)
        assert wait.seconds <= EXECUTION_MARGIN / 2
        _, step = look(watch, sight(State.CANCELLATION_IN_PROGRESS), now=STEADY + EXECUTION_MARGIN / 2)
        assert isinstance(step, Ended)
        assert step.reason is Reason.EXECUTION_TIMEOUT
