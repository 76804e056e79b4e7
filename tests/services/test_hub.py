"""The wait for a job: states, deadlines, trouble and logs, against a local Batch with its faults."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from submitting import script, submitted, until_state

from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import JobCancelled, JobFailed, JobTimedOut
from airflow_batchstream.core.jobs.outcome import closing_block, finish, result
from airflow_batchstream.core.jobs.watch import Reason, Watch
from airflow_batchstream.services.hub import Hub, Stopped, Subject

LONG = script("sleep 60")


@pytest.fixture
def watched(in_loop, owner, told):
    """Submit a job and wait for it; ``during`` runs beside the wait."""

    def run(job: dict[str, Any], during: Any = None, **more: Any) -> Any:
        async def work(clients):
            sight = (await submitted(clients, owner, job, told)).sight
            limits = {k: sight.created + v for k, v in more.items() if k in ("timeout_at", "queued_until")}
            watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=0.3)
            watch = replace(watch, **(more | limits))
            stop = asyncio.Event()
            beside = asyncio.ensure_future(during(clients, sight, stop)) if during else None
            ended = await Hub(clients).watch(watch, told, Subject("image", "", True), stop)
            if beside:
                await beside
            return ended

        return in_loop(work)

    return run


async def _cancelled(clients, sight, stop):
    await until_state(clients, sight.name, "RUNNING")
    await clients.cancel_job(sight.name, "")


class TestTheEnd:
    def test_of_a_good_job_is_its_result(self, watched, told):
        ended = watched(script("echo hello"))
        assert finish(ended)["state"] == "SUCCEEDED"
        assert told.texts == ["hello"]

    def test_of_a_failed_job_names_task_code_and_last_words(self, watched):
        ended = watched(
            script("echo $BATCH_TASK_INDEX; [ $BATCH_TASK_INDEX != 1 ] || { echo why >&2; exit 3; }", taskCount=3)
        )
        with pytest.raises(JobFailed) as failed:
            finish(ended)
        assert failed.value.exit_codes == [3]
        assert result(ended)["exit_codes"] == {"1": 3}
        block = "\n".join(closing_block(ended))
        assert "Task 1 failed" in block
        assert "| why" in block

    def test_of_a_job_that_no_task_ever_ran_in_is_told_by_its_event(self, watched, local, owner):
        local.inject({"job": f"{owner.dag_id}-*", "refuse": "CODE_GCE_QUOTA_EXCEEDED: no CPUs left in europe-west4"})
        ended = watched(script("true"))
        with pytest.raises(JobFailed, match="no CPUs left"):
            finish(ended)
        assert "No task ever ran" in "\n".join(closing_block(ended))

    def test_of_a_job_cancelled_by_somebody_else_fails_without_a_retry(self, watched):
        with pytest.raises(JobCancelled, match="not by this task") as failed:
            finish(watched(LONG, _cancelled))
        assert not failed.value.retryable

    def test_of_a_job_deleted_by_somebody_else_is_noticed(self, watched):
        async def deleted(clients, sight, stop):
            await until_state(clients, sight.name, "RUNNING")
            await clients._batch.delete_job(name=str(sight.name))

        ended = watched(LONG, deleted)
        assert ended.reason is Reason.GONE
        with pytest.raises(JobCancelled, match="deleted"):
            finish(ended)


class TestDeadlines:
    def test_the_timeout_cancels_the_job(self, watched):
        ended = watched(LONG, timeout_at=2.0)
        assert result(ended)["state"] == "CANCELLED"
        with pytest.raises(JobTimedOut, match=r"timeout_seconds \(2\.0 s\) has passed.*It was cancelled"):
            finish(ended)

    def test_the_timeout_leaves_the_job_where_the_user_wants_it_and_says_so(self, watched, in_loop):
        ended = watched(LONG, timeout_at=2.0, cancel_on_timeout=False)
        with pytest.raises(JobTimedOut, match="costs money") as timed_out:
            finish(ended)
        assert timed_out.value.job["state"] == "RUNNING"
        in_loop(lambda c: c.cancel_job(ended.watch.job, ""))

    def test_a_job_that_never_runs_is_cancelled_after_the_queued_timeout(self, watched, local, owner, told):
        local.inject({"job": f"{owner.dag_id}-*", "stay": "QUEUED", "says": "Quota checking: waiting for CPUs"})
        ended = watched(LONG, queued_until=2.0)
        with pytest.raises(JobTimedOut, match="never RUNNING"):
            finish(ended)
        assert "waiting for CPUs" in told.warnings

    def test_a_cancel_that_is_refused_at_first_is_sent_again(self, watched, local, owner):
        local.inject({"method": "CancelJob", "job": f"{owner.dag_id}-*", "status": "UNAVAILABLE", "times": 1})
        assert result(watched(LONG, timeout_at=1.0))["state"] == "CANCELLED"


class TestTrouble:
    @pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"])
    def test_that_passes_ends_no_wait(self, watched, local, owner, told, code):
        local.inject({"method": "GetJob", "job": f"{owner.dag_id}-*", "status": code, "times": 2})
        assert finish(watched(script("echo still here")))["state"] == "SUCCEEDED"
        assert told.texts == ["still here"]
        assert code in told.warnings

    def test_with_the_log_never_fails_the_job_and_is_said_once(self, watched, local, owner, told):
        local.inject(
            {"method": "ListLogEntries", "job": f"*{owner.dag_id}-*", "status": "PERMISSION_DENIED", "times": 3}
        )
        assert finish(watched(script("echo hello; sleep 1")))["state"] == "SUCCEEDED"
        assert told.warnings.count("cannot be read") == 1
        assert "roles/logging.viewer" in told.warnings
        assert told.texts == ["hello"]  # readable later on

    def test_with_the_tasks_still_tells_the_end(self, watched, local, owner):
        local.inject({"method": "ListTasks", "job": f"*{owner.dag_id}-*", "status": "UNAVAILABLE"})
        with pytest.raises(JobFailed):
            finish(watched(script("exit 3")))


class TestTheLog:
    def test_has_every_line_of_many_tasks_once_and_in_order(self, watched, told):
        watched(script("for i in $(seq 40); do echo $BATCH_TASK_INDEX:$i; done", taskCount=25, parallelism=10))
        assert len(told.texts) == 1000
        for task in range(25):
            own = [int(t.split(":")[1]) for t in told.texts if t.startswith(f"{task}:")]
            assert own == list(range(1, 41))

    def test_shows_lines_while_the_job_runs(self, watched, told):
        seen: list[float] = []

        async def first_line(clients, sight, stop):
            while not told.printed:  # noqa: ASYNC110 - lines are told from a thread
                await asyncio.sleep(0.05)
            seen.append(time.time())
            assert not (await clients.get_job(sight.name)).state.ended

        watched(script("echo early; sleep 3"), first_line)
        assert seen

    def test_has_lines_that_come_late(self, watched, local, owner, told):
        local.inject({"job": f"{owner.dag_id}-*", "late": 0.5, "hidden": 0.5})
        watched(script("seq 50"))
        assert sorted(map(int, told.texts)) == list(range(1, 51))

    def test_survives_a_used_up_quota(self, watched, local, owner, told):
        local.inject(
            {"method": "ListLogEntries", "job": f"*{owner.dag_id}-*", "status": "RESOURCE_EXHAUSTED", "times": 1}
        )
        watched(script("seq 20"))
        assert told.texts == [str(n) for n in range(1, 21)]

    def test_shows_errors_only_where_only_they_are_wanted(self, watched, told):
        watched(script("echo out; echo err >&2"), log_severity="ERROR")
        assert told.texts == ["err"]

    def test_says_what_a_limit_left_out(self, watched, told):
        watched(script("seq 30"), log_limit=10)
        assert told.texts == [str(n) for n in range(1, 11)]
        assert "20 lines left out" in told.warnings

    def test_is_not_read_where_it_is_not_wanted(self, watched, told):
        watched(script("echo hello"), get_logs=False)
        assert not told.printed

    def test_of_the_agent_is_shown_where_a_failed_job_printed_nothing(self, watched):
        ended = watched(script("exit 7"))
        assert ended.agent_tail
        assert "Batch's agent" in "\n".join(closing_block(ended))


class TestTheWordToStop:
    def test_ends_the_wait_within_a_second_and_leaves_the_job_alone(self, watched, in_loop):
        at: list[float] = []

        async def stopped(clients, sight, stop):
            await until_state(clients, sight.name, "RUNNING")
            at.append(time.time())
            stop.set()

        with pytest.raises(Stopped) as left:
            watched(LONG, stopped)
        assert time.time() - at[0] < 1
        name = left.value.watch.job
        assert str(in_loop(lambda c: c.get_job(name)).state) == "RUNNING"
        in_loop(lambda c: c.cancel_job(name, ""))


def test_googles_own_figures_lose_nothing_that_comes_late(local, owner, told):
    """The settle times, polls and bounds of Google, not those of a local Batch; entries come up to ten seconds late."""

    async def work() -> Any:
        async with GoogleClients(Endpoint(emulator=local.address)) as clients:
            sight = (await submitted(clients, owner, script("seq 200; echo last"), told)).sight
            watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=clients.endpoint.poll)
            return await Hub(clients).watch(watch, told, Subject(), asyncio.Event())

    local.inject({"job": f"{owner.dag_id}-*", "late": 5.0, "hidden": 5.0})
    began = time.monotonic()
    assert finish(asyncio.run(work()))["state"] == "SUCCEEDED"
    assert sorted(told.texts) == sorted([*map(str, range(1, 201)), "last"])
    assert time.monotonic() - began > 20  # it is Google's settle time that was waited
