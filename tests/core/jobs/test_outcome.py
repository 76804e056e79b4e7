"""What became of a job: the result, the closing block, the error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_batchstream.core.errors import ApiRefused, BatchStreamError, JobCancelled, JobError, JobFailed, JobTimedOut
from airflow_batchstream.core.jobs.model import Event, JobName, Line, Sight, State, TaskSight
from airflow_batchstream.core.jobs.outcome import MESSAGE_BYTES, Outcome, closing_block, finish, result
from airflow_batchstream.core.jobs.waits import Reason, Watch

JOB = JobName("shop", "europe-west1", "nightly-1a2b")
CREATED = 1_700_000_000.0
WATCH = Watch(JOB, "uid-1", CREATED, running_since=CREATED + 62)


def set_to(at: float, was: str, state: str) -> Event:
    return Event(CREATED + at, "STATUS_CHANGED", f"Job state is set from {was} to {state} for job {JOB}.")


def sight(state: State, **counts: int) -> Sight:
    events = (set_to(1, "QUEUED", "SCHEDULED"), set_to(62, "SCHEDULED", "RUNNING"), set_to(192, "RUNNING", str(state)))
    return Sight(JOB, "uid-1", state, CREATED, events, counts)


def failed(index: int, *codes: int) -> TaskSight:
    events = tuple(
        Event(CREATED + 70 + n, "STATUS_CHANGED", f"exit code {code}", "FAILED", code) for n, code in enumerate(codes)
    )
    return TaskSight(index, "FAILED", events)


def line(text: str, index: int = 0, log: str = "batch_task_logs") -> Line:
    return Line("uid-1", log, 1, 1, text, "INFO", f"task/uid-1-group0-{index}/0/0", text)


def ended(state: State, **more: Any) -> Outcome:
    return Outcome(replace(WATCH, state=state), Reason.STATE, sight(state), **more)


def block(outcome: Outcome) -> str:
    return "\n".join(closing_block(outcome))


def error(outcome: Outcome) -> BatchStreamError:
    with pytest.raises(BatchStreamError) as caught:
        finish(outcome)
    return caught.value


SUCCEEDED = ended(
    State.SUCCEEDED,
    image="europe-docker.pkg.dev/shop/etl/night:7",
    digest="sha256:" + "0" * 64,
    streaming=True,
    streamed="consistent",
    streamed_says="Image streaming: consistent with streaming: the first line came 4.1 s after RUNNING.",
)
FAILED = ended(State.FAILED, tasks=(failed(3, 137),), tail=(line("loading", 0), line("too much", 3)))


class TestResult:
    def test_holds_the_documented_keys_and_is_json(self) -> None:
        assert json.loads(json.dumps(result(SUCCEEDED))) == {
            "name": "projects/shop/locations/europe-west1/jobs/nightly-1a2b",
            "uid": "uid-1",
            "project_id": "shop",
            "region": "europe-west1",
            "state": "SUCCEEDED",
            "image": "europe-docker.pkg.dev/shop/etl/night:7",
            "digest": "sha256:" + "0" * 64,
            "streaming": True,
            "streamed": "consistent",
            "created": "2023-11-14T22:13:20.000Z",
            "started": "2023-11-14T22:14:22.000Z",
            "ended": "2023-11-14T22:16:32.000Z",
            "task_counts": {},
            "exit_codes": {},
            "console_url": JOB.console_url,
        }

    def test_says_of_a_plain_job_that_streaming_was_no_question(self) -> None:
        assert result(ended(State.SUCCEEDED))["streamed"] is None

    def test_knows_no_more_of_how_the_image_came_than_an_older_version_s_trigger_told(self) -> None:
        assert result(ended(State.SUCCEEDED, streaming=True))["streamed"] == "requested"

    def test_of_a_job_just_submitted_has_what_is_known(self) -> None:
        queued = Sight(JOB, "uid-1", State.QUEUED, CREATED)
        told = result(Outcome(Watch(JOB, "uid-1", CREATED), Reason.STATE, queued))
        assert (told["state"], told["started"], told["ended"]) == ("QUEUED", None, None)

    def test_holds_the_counts_and_exit_codes_of_failed_tasks(self) -> None:
        told = result(replace(FAILED, sight=sight(State.FAILED, FAILED=1, SUCCEEDED=2)))
        assert told["task_counts"] == {"FAILED": 1, "SUCCEEDED": 2}
        assert told["exit_codes"] == {"3": 137}

    def test_of_a_deleted_job_says_so(self) -> None:
        gone = Outcome(replace(WATCH, state=State.DELETION_IN_PROGRESS), Reason.GONE)
        assert result(gone)["state"] == "DELETED"

    def test_stays_small_and_keeps_every_distinct_code(self) -> None:
        tasks = tuple(failed(n, 1 if n < 9_999 else 137) for n in range(10_000))
        codes = result(ended(State.FAILED, tasks=tasks))["exit_codes"]
        assert len(codes) == 100
        assert codes["9999"] == 137

    def test_takes_the_last_attempts_code(self) -> None:
        assert result(ended(State.FAILED, tasks=(failed(0, 50001, 50001, 3),)))["exit_codes"] == {"0": 3}

    def test_holds_no_code_of_an_attempt_that_a_later_one_made_good(self) -> None:
        preempted = replace(failed(0, 50001), state="SUCCEEDED")
        assert result(ended(State.SUCCEEDED, tasks=(preempted,)))["exit_codes"] == {}


class TestTheStateDecides:
    def test_a_job_that_succeeded_is_a_success(self) -> None:
        assert finish(SUCCEEDED) == result(SUCCEEDED)

    def test_a_spot_attempt_that_was_preempted_before_does_not_change_that(self) -> None:
        assert finish(ended(State.SUCCEEDED, tasks=(replace(failed(0, 50001), state="SUCCEEDED"),)))

    def test_a_failed_job_is_an_error_that_retries_see(self) -> None:
        raised = error(FAILED)
        assert isinstance(raised, JobFailed)
        assert raised.retryable
        assert raised.exit_codes == [137]
        assert raised.job == result(FAILED)

    @pytest.mark.parametrize("code", [1, 3, 127, *range(50000, 50007)])
    def test_so_it_is_whatever_the_exit_code(self, code: int) -> None:
        assert error(ended(State.FAILED, tasks=(failed(0, code),))).retryable

    def test_a_failed_job_without_a_task_is_the_same_error(self) -> None:
        assert isinstance(error(ended(State.FAILED)), JobFailed)

    def test_a_job_cancelled_by_another_is_not_retried(self) -> None:
        raised = error(ended(State.CANCELLED))
        assert isinstance(raised, JobCancelled)
        assert not raised.retryable

    def test_neither_is_one_that_was_deleted(self) -> None:
        raised = error(Outcome(replace(WATCH, state=State.RUNNING), Reason.GONE))
        assert isinstance(raised, JobCancelled)
        assert not raised.retryable

    @pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.QUEUED_TIMEOUT, Reason.EXECUTION_TIMEOUT])
    def test_a_deadline_can_be_retried(self, reason: Reason) -> None:
        raised = error(Outcome(WATCH, reason, sight(State.CANCELLED)))
        assert isinstance(raised, JobTimedOut)
        assert raised.retryable

    @pytest.mark.parametrize(
        ("code", "retryable"), [("PERMISSION_DENIED", False), ("INVALID_ARGUMENT", False), ("UNAUTHENTICATED", True)]
    )
    def test_a_refusal_can_be_retried_only_if_credentials_may_mend(self, code: str, retryable: bool) -> None:
        raised = error(Outcome(replace(WATCH, error_code=code, error=f"{code}: no"), Reason.REFUSED))
        assert isinstance(raised, ApiRefused)
        assert (raised.code, raised.retryable) == (code, retryable)


class TestClosingBlock:
    def test_of_a_success_is_short(self) -> None:
        assert closing_block(ended(State.SUCCEEDED)) == [
            "Job nightly-1a2b SUCCEEDED after 3 min 12 s (1 min 2 s until it ran, 2 min 10 s running).",
            f"Console: {JOB.console_url}",
        ]

    def test_says_in_one_line_how_the_image_came(self) -> None:
        lines = [line for line in closing_block(SUCCEEDED) if line.startswith("Image streaming")]
        assert lines == ["Image streaming: consistent with streaming: the first line came 4.1 s after RUNNING."]

    def test_of_a_plain_job_says_nothing_of_streaming(self) -> None:
        assert "streaming" not in block(ended(State.SUCCEEDED))

    def test_of_a_failure_can_be_read_at_a_glance(self) -> None:
        counted = replace(FAILED, sight=sight(State.FAILED, FAILED=1, SUCCEEDED=3, RUNNING=0))
        assert closing_block(counted) == [
            "Job nightly-1a2b FAILED after 3 min 12 s (1 min 2 s until it ran, 2 min 10 s running).",
            "Task 3 failed (attempt 0): exit code 137: ended by SIGKILL (cause: the job's own program). "
            "Most often it ran out of memory: raise computeResource.memoryMib and take a machine type that has it.",
            "Tasks: 1 FAILED, 3 SUCCEEDED",
            "The last lines printed by failed tasks:",
            "  group0.3 | too much",
            "Costs: the job has ended; it costs nothing any more.",
            f"Console: {JOB.console_url}",
        ]

    def test_blames_no_program_for_the_signals_of_a_cancellation(self) -> None:
        states = ("RUNNING", "CANCELLATION_IN_PROGRESS", "CANCELLED")
        events = tuple(set_to(at, "RUNNING", state) for at, state in zip((62, 71, 73), states, strict=True))
        cancelled = replace(sight(State.CANCELLED), events=events)
        said = block(replace(ended(State.CANCELLED), sight=cancelled, tasks=(failed(0, 137), failed(1, 0, 143))))
        assert "Task 0 failed" in said  # before the cancellation
        assert "The cancellation ended 1 running task." in said
        assert "Task 1" not in said

    def test_names_the_length_of_the_time_that_was_up(self) -> None:
        watch = replace(WATCH, timeout_at=CREATED + 90, state=State.RUNNING)
        assert "timeout_seconds (1 min 30 s)" in block(Outcome(watch, Reason.TIMEOUT, sight(State.RUNNING)))

    def test_says_whose_doing_it_was(self) -> None:
        assert "cause: infrastructure" in block(ended(State.FAILED, tasks=(failed(0, 50001),)))
        assert "cause: the job's own program" in block(ended(State.FAILED, tasks=(failed(0, 3),)))

    @pytest.mark.parametrize(
        ("code", "hint"), [(126, "x permission"), (127, "PATH"), (137, "memory"), (50005, "maxRunDuration")]
    )
    def test_has_a_hint_where_one_helps(self, code: int, hint: str) -> None:
        assert hint in block(ended(State.FAILED, tasks=(failed(0, code),)))

    def test_of_a_deleted_job_says_how_it_was_last_seen(self) -> None:
        told = block(Outcome(replace(WATCH, state=State.RUNNING), Reason.GONE))
        assert "was deleted, and not by this task; it was last seen as RUNNING." in told

    def test_of_a_job_never_seen_says_that_it_cannot_be_found(self) -> None:
        assert "cannot be found" in block(Outcome(WATCH, Reason.GONE))

    def test_of_a_job_cancelled_by_another_says_so(self) -> None:
        told = block(ended(State.CANCELLED))
        assert "was CANCELLED after 3 min 12 s" in told
        assert ", and not by this task." in told

    def test_names_the_attempt(self) -> None:
        assert "Task 0 failed (attempt 2, the last of 3): exit code 3" in block(
            ended(State.FAILED, tasks=(failed(0, 50001, 50001, 3),))
        )

    def test_shows_few_of_many_failed_tasks_and_counts_the_others(self) -> None:
        tasks = tuple(failed(n, 137 if n == 40 else 1) for n in range(50))
        lines = closing_block(ended(State.FAILED, tasks=tasks))
        assert len([text for text in lines if text.startswith("Task ")]) == 5
        assert "... and 45 more failed tasks (exit code 1: 44, exit code 137: 1)" in lines
        assert any("memory" in text for text in lines)

    def test_counts_tasks_without_a_code_too(self) -> None:
        tasks = (*(failed(n, 1) for n in range(5)), failed(5, 127), TaskSight(6, "FAILED"))
        lines = closing_block(ended(State.FAILED, tasks=tasks))
        assert "... and 2 more failed tasks (exit code 127: 1, no exit code: 1)" in lines
        assert len([text for text in lines if text.startswith("exit code")]) == 1

    def test_explains_each_code_once(self) -> None:
        told = block(ended(State.FAILED, tasks=tuple(failed(n, 127) for n in range(4))))
        assert told.count("was not found") == 1

    def test_a_failed_task_without_a_code_is_told_in_batchs_words(self) -> None:
        odd = TaskSight(0, "FAILED", (Event(CREATED, "x", "the VM is no more", "FAILED"),))
        assert "no exit code told. Batch says: the VM is no more" in block(ended(State.FAILED, tasks=(odd,)))

    def test_shows_the_status_events_where_no_task_ever_ran(self) -> None:
        why = Event(CREATED + 9, "STATUS_CHANGED", "Service account shop@example.com lacks roles/logging.logWriter")
        never = Sight(JOB, "uid-1", State.FAILED, CREATED, (why, set_to(10, "QUEUED", "FAILED")))
        told = block(Outcome(Watch(JOB, "uid-1", CREATED, state=State.FAILED), Reason.STATE, never))
        assert "No task ever ran." in told
        assert "22:13:29 Service account shop@example.com lacks" in told

    def test_repeats_the_job_s_long_name_in_no_event(self) -> None:
        told = block(Outcome(Watch(JOB, "uid-1", CREATED, state=State.FAILED), Reason.STATE, sight(State.FAILED)))
        assert "22:16:32 Job state is set from RUNNING to FAILED.\n" in told
        assert "projects/" not in told

    def test_does_not_say_that_no_task_ran_if_one_did(self) -> None:
        assert "No task ever ran" not in block(ended(State.FAILED))

    def test_shows_the_last_lines_of_all_if_no_failed_task_printed(self) -> None:
        told = block(replace(FAILED, tail=(line("bye", 0),)))
        assert "The last lines printed:\n  group0.0 | bye" in told

    def test_shows_the_agents_lines_if_nothing_was_printed(self) -> None:
        told = block(replace(FAILED, tail=(), agent_tail=(line("manifest unknown", log="batch_agent_logs"),)))
        assert "manifest unknown" in told
        assert "agent" in told

    def test_shows_a_bounded_number_of_short_lines(self) -> None:
        many = replace(FAILED, tail=tuple(line(f"{n} " + "x" * 1000, 3) for n in range(100)))
        shown = [text for text in closing_block(many) if "group0.3 |" in text]
        assert len(shown) == 20
        assert shown[-1].startswith("  group0.3 | 99 xxx")
        assert max(map(len, shown)) < 330


class TestCosts:
    def test_a_job_that_ended_costs_nothing(self) -> None:
        assert "costs nothing any more" in block(FAILED)
        assert "costs nothing any more" in block(Outcome(replace(WATCH, state=State.RUNNING), Reason.GONE))

    def test_a_job_left_running_costs_money_and_the_way_to_end_it_is_told(self) -> None:
        watch = replace(WATCH, cancel_on_timeout=False, state=State.RUNNING)
        told = block(Outcome(watch, Reason.TIMEOUT, sight(State.RUNNING)))
        assert "It was not cancelled (cancel_on_timeout=False)." in told
        assert "lives on and costs money" in told
        assert "gcloud batch jobs cancel nightly-1a2b --location=europe-west1 --project=shop" in told

    def test_a_job_cancelled_in_time_costs_nothing(self) -> None:
        watch = replace(WATCH, cancel_reason="timeout", cancel_sent_at=CREATED + 100, state=State.CANCELLED)
        told = block(Outcome(watch, Reason.TIMEOUT, sight(State.CANCELLED)))
        assert "timeout_seconds has passed" in told
        assert "It was cancelled." in told
        assert "costs nothing any more" in told

    def test_a_job_that_was_gone_when_its_cancel_was_waited_for_was_cancelled(self) -> None:
        watch = replace(WATCH, cancel_reason="timeout", cancel_sent_at=CREATED + 100, error_code="NOT_FOUND")
        told = block(Outcome(replace(watch, state=State.RUNNING), Reason.TIMEOUT))
        assert "It was cancelled." in told
        assert "costs nothing any more" in told

    def test_a_job_not_seen_since_its_cancel_may_still_cost(self) -> None:
        watch = replace(WATCH, cancel_reason="timeout", cancel_sent_at=CREATED + 100, error_code="UNAVAILABLE")
        told = block(Outcome(replace(watch, state=State.RUNNING), Reason.TIMEOUT))
        assert "It was told to cancel" in told
        assert "until they are gone" in told

    def test_a_job_still_being_cancelled_costs_until_its_vms_are_gone(self) -> None:
        watch = replace(WATCH, cancel_reason="timeout", cancel_sent_at=CREATED + 100, state=State.RUNNING)
        told = block(Outcome(watch, Reason.TIMEOUT, sight(State.CANCELLATION_IN_PROGRESS)))
        assert "was still CANCELLATION_IN_PROGRESS" in told
        assert "until they are gone" in told

    def test_a_job_that_could_not_be_cancelled_says_why_and_costs_money(self) -> None:
        watch = replace(WATCH, cancel_reason="timeout", cancel_error="PERMISSION_DENIED: no", state=State.RUNNING)
        told = block(Outcome(watch, Reason.TIMEOUT, sight(State.RUNNING)))
        assert "could not be cancelled (PERMISSION_DENIED: no)" in told
        assert "lives on and costs money" in told

    def test_a_job_that_we_may_not_see_lives_on(self) -> None:
        watch = replace(WATCH, state=State.RUNNING, error_code="PERMISSION_DENIED", error="PERMISSION_DENIED: no")
        told = block(Outcome(watch, Reason.REFUSED))
        assert "lives on and costs money" in told
        assert "roles/batch.jobsEditor in project shop" in told


class TestMessages:
    def test_say_in_four_lines_what_an_alert_needs(self) -> None:
        tail = (line("loading", 0), line("reading", 3), line("too much", 3))
        assert str(error(replace(FAILED, tail=tail))).splitlines() == [
            "Job nightly-1a2b FAILED after 3 min 12 s (1 min 2 s until it ran, 2 min 10 s running).",
            "Task 3 failed (attempt 0): exit code 137: ended by SIGKILL (cause: the job's own program). "
            "Most often it ran out of memory: raise computeResource.memoryMib and take a machine type that has it.",
            "The last line printed by failed tasks: group0.3 | too much",
            f"Console: {JOB.console_url}",
        ]

    def test_tell_the_agents_last_line_from_a_containers(self) -> None:
        agent = (line("pulling"), line("manifest unknown", log="batch_agent_logs"))
        said = str(error(replace(FAILED, tail=(), agent_tail=agent)))
        assert "The job printed nothing. The last line of Batch's agent: group0.0 | manifest unknown\n" in said

    def test_tell_one_of_the_failed_tasks_and_count_the_others(self) -> None:
        said = str(error(ended(State.FAILED, tasks=tuple(failed(n, 3) for n in range(50)))))
        assert "Task 0 failed (attempt 0): exit code 3 (cause: the job's own program) (49 more failed)" in said
        assert "Task 1 " not in said

    def test_tell_the_events_where_no_task_ever_ran(self) -> None:
        why = Event(CREATED + 9, "STATUS_CHANGED", "Service account shop@example.com lacks roles/logging.logWriter")
        never = Sight(JOB, "uid-1", State.FAILED, CREATED, (why, set_to(10, "QUEUED", "FAILED")))
        said = str(error(Outcome(Watch(JOB, "uid-1", CREATED, state=State.FAILED), Reason.STATE, never)))
        assert "No task ever ran." in said
        assert "lacks roles/logging.logWriter" in said

    def test_say_that_a_job_still_costs_money_and_how_to_end_it(self) -> None:
        watch = replace(WATCH, cancel_on_timeout=False, state=State.RUNNING)
        said = str(error(Outcome(watch, Reason.TIMEOUT, sight(State.RUNNING))))
        assert "gcloud batch jobs cancel nightly-1a2b" in said
        assert "Costs" not in str(error(FAILED))

    def test_are_bounded_however_much_there_is_to_tell(self) -> None:
        long = "é" * 5000
        events = tuple(Event(CREATED + n, "x", long) for n in range(50))
        outcomes = [
            replace(FAILED, tail=tuple(line(long, 3) for _ in range(100))),
            replace(FAILED, tasks=tuple(failed(n, n + 1) for n in range(2000))),
            replace(FAILED, tasks=(), sight=replace(sight(State.FAILED), events=events)),
            replace(FAILED, tasks=tuple(TaskSight(n, "FAILED", (Event(CREATED, "x", long),)) for n in range(20))),
            replace(FAILED, sight=sight(State.FAILED, **{f"STATE_{n}" * 20: 1 for n in range(200)})),
        ]
        for outcome in outcomes:
            message = str(error(outcome))
            assert len(message.encode()) <= MESSAGE_BYTES
            assert message.startswith("Job nightly-1a2b FAILED")

    def test_cut_a_long_last_line(self) -> None:
        told = str(error(replace(FAILED, tail=tuple(line("é" * 5000, 3) for _ in range(100)))))
        assert told.endswith(JOB.console_url)
        assert "group0.3 | ééé" in told
        assert len(told) < 1000

    def test_show_no_colours(self) -> None:
        assert "\x1b" not in str(error(replace(FAILED, tail=(line("\x1b[31mred\x1b[0m", 3),))))

    def test_are_errors_of_one_job(self) -> None:
        assert isinstance(error(FAILED), JobError)
