"""Which state a sensor waits for, and what becomes of the wait when the job ends without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from watching import JOB, WATCH, look, sight

from airflow_batchstream.core.errors import InvalidInput, JobCancelled, JobFailed, JobTimedOut, StateMissed
from airflow_batchstream.core.jobs import goal
from airflow_batchstream.core.jobs.ends import Outcome
from airflow_batchstream.core.jobs.model import State, Trouble
from airflow_batchstream.core.jobs.outcome import closing_block, finish, result
from airflow_batchstream.core.jobs.watch import Ended, Reason, Wait, Watch

OBSERVER = replace(WATCH, observer=True, cancel_on_timeout=False)


class TestWhatMayBeWaitedFor:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("SUCCEEDED", ()),
            (["SUCCEEDED"], ()),
            ("running", ("RUNNING",)),
            (State.FAILED, ("FAILED",)),
            (["FAILED", "succeeded", "FAILED"], ("FAILED", "SUCCEEDED")),
        ],
    )
    def test_is_a_state_or_several(self, written, read):
        assert goal.read(written) == read

    @pytest.mark.parametrize("written", ["RUNING", "", [], None, "DELETION_IN_PROGRESS", ["RUNNING", "DONE"]])
    def test_is_nothing_else(self, written):
        with pytest.raises(InvalidInput, match=r"wait_for.*is none of QUEUED"):
            goal.read(written)

    def test_a_typing_mistake_is_told_with_what_was_meant(self):
        with pytest.raises(InvalidInput, match="Did you mean RUNNING"):
            goal.read("RUNING")

    @pytest.mark.parametrize(
        ("written", "literal"),
        [("RUNNING", True), ("{{ state }}", False), (["FAILED", "{{ s }}"], False), (["FAILED"], True), (None, False)],
    )
    def test_is_checked_early_if_it_is_written_out(self, written, literal):
        assert goal.literal(written) is literal


class TestAStateIsReached:
    @pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED])
    def test_when_the_job_is_in_it_or_has_passed_it(self, state):
        assert goal.reached(("RUNNING",), state)

    @pytest.mark.parametrize(
        "state", [State.QUEUED, State.SCHEDULED, State.FAILED, State.CANCELLED, State.CANCELLATION_IN_PROGRESS]
    )
    def test_not_before_and_not_by_a_bad_end(self, state):
        assert not goal.reached(("RUNNING",), state)

    def test_of_several_by_the_first(self):
        assert goal.reached(("FAILED", "CANCELLED"), State.CANCELLED)
        assert not goal.reached(("FAILED", "CANCELLED"), State.SUCCEEDED)

    def test_never_where_none_is_named(self):
        assert not any(goal.reached((), state) for state in State)


def ended(watch: Watch, *answers: object) -> Outcome:
    """The outcome of a wait with these looks."""
    watch, step = look(watch, *answers)
    assert isinstance(step, Ended)
    return Outcome(watch=watch, reason=step.reason, sight=step.sight)


class TestTheWait:
    RUNNING = replace(OBSERVER, wait_for=("RUNNING",))
    FAILED = replace(OBSERVER, wait_for=("FAILED",))

    def test_ends_once_the_state_is_reached_and_is_a_success(self):
        done = ended(self.RUNNING, sight(State.QUEUED), sight(State.SCHEDULED), sight(State.RUNNING))
        assert done.reason is Reason.REACHED
        assert finish(done)["state"] == "RUNNING"
        assert finish(done)["ended"] is None
        assert closing_block(done)[0] == f"Job {JOB.job_id} is RUNNING, which was waited for."
        assert "costs" not in "\n".join(closing_block(done)).lower()

    def test_goes_on_before(self):
        _, step = look(self.RUNNING, sight(State.QUEUED), sight(State.SCHEDULED))
        assert isinstance(step, Wait)

    def test_is_a_success_though_the_job_was_over_by_the_first_look(self):
        assert finish(ended(self.RUNNING, sight(State.SUCCEEDED)))["state"] == "SUCCEEDED"

    def test_fails_if_the_job_fails_instead(self):
        with pytest.raises(JobFailed, match="FAILED"):
            finish(ended(self.RUNNING, sight(State.FAILED)))

    def test_fails_if_the_job_is_cancelled_instead(self):
        with pytest.raises(JobCancelled, match="CANCELLED"):
            finish(ended(self.RUNNING, sight(State.CANCELLED)))

    def test_for_a_failure_is_a_success_if_the_job_fails(self):
        done = ended(self.FAILED, sight(State.RUNNING), sight(State.FAILED))
        assert finish(done)["state"] == "FAILED"

    def test_for_a_failure_fails_if_the_job_succeeds(self):
        done = ended(self.FAILED, sight(State.RUNNING), sight(State.SUCCEEDED))
        with pytest.raises(StateMissed, match=r"SUCCEEDED.*never was FAILED") as missed:
            finish(done)
        assert not missed.value.retryable
        assert result(done)["state"] == "SUCCEEDED"

    def test_goes_on_from_json_with_its_goal(self):
        again = Watch.from_dict(self.RUNNING.as_dict())
        assert again == self.RUNNING
        assert Watch.from_dict({k: v for k, v in OBSERVER.as_dict().items() if k not in ("wait_for", "observer")}) == (
            replace(OBSERVER, observer=False)
        )


class TestAnObserver:
    def test_cancels_nothing_when_its_time_is_up_and_says_that_the_job_goes_on(self):
        watch = replace(OBSERVER, timeout_at=OBSERVER.created + 10)
        done = ended(watch, sight(State.RUNNING))
        assert done.reason is Reason.TIMEOUT
        with pytest.raises(JobTimedOut) as late:
            finish(done)
        text = str(late.value)
        assert "the sensor's timeout has passed" in text
        assert "a sensor never cancels a job" in text
        assert "adopts" not in text
        assert "gcloud batch jobs cancel" in text

    def test_keeps_its_time_while_batch_cannot_be_asked(self):
        watch = replace(OBSERVER, timeout_at=OBSERVER.created + 10)
        done = ended(watch, Trouble("UNAVAILABLE", "down"))
        assert done.reason is Reason.TIMEOUT
