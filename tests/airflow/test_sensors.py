"""Sensors on a job that another task created, in every mode, in a real Airflow against a local Batch.

All runs are started at once; all sensors of a Dag look at one job, side by side.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from airflow_api import AirflowApi, Run, Task, until
from batch_rest import BatchRest

RUNS = ("good", "bad", "late", "killed", "nothing")


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi, batch: BatchRest) -> Iterator[dict[str, Run]]:
    """The runs, all under way; at the end the jobs that go on are cancelled."""
    under_way = {name: airflow.trigger(f"case_sensor_{name}") for name in RUNS}
    yield under_way
    for name in ("late", "killed"):
        batch.cancel(job_of(under_way[name]))


def job_of(run: Run) -> str:
    """The name of the run's one job."""
    return str(until(lambda: run.task("submit").xcom("batch_job"), 90, "the job")["name"])


def lines(task: Task) -> list[str]:
    """What the job's container printed, as this task's log shows it."""
    return [line.text for line in task.log() if line.logger == "batch.group0.0"]


def said(task: Task, try_number: int = 1) -> str:
    """All else in its log."""
    return "\n".join(str(line.raw) for line in task.log(try_number) if not line.logger.startswith("batch.group"))


def lasted(info: dict[str, Any]) -> float:
    """Seconds from its start to its end. Its ``duration`` is wrong in Airflow 3.1 on SQLite: it adds the difference of
    two ``%f``, which hold the seconds of the minute too, and is below zero where a minute began in between."""
    return (datetime.fromisoformat(info["end_date"]) - datetime.fromisoformat(info["start_date"])).total_seconds()


WHOLE = [*(f"line {n}" for n in range(1, 13)), "last"]


class TestAGoodJob:
    @pytest.mark.parametrize("task_id", ["poke_with_logs", "deferred_with_logs"])
    def test_is_waited_for_with_every_line_once(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["good"].task(task_id)
        assert task.wait() == "success"
        assert lines(task) == WHOLE
        assert "SUCCEEDED" in said(task)

    @pytest.mark.parametrize("task_id", ["rescheduled", "by_id"])
    def test_is_waited_for_without_its_lines_by_default(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["good"].task(task_id)
        assert task.wait() == "success"
        assert lines(task) == []
        assert task.xcom("batch_job")["state"] == "SUCCEEDED"

    def test_may_be_shown_from_a_severity_on(self, runs: dict[str, Run]) -> None:
        task = runs["good"].task("only_errors")
        assert task.wait() == "success"
        assert lines(task) == ["last"]

    @pytest.mark.parametrize("task_id", ["poke_with_logs", "rescheduled", "deferred_with_logs"])
    def test_leaves_the_same_result_as_with_the_operator(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["good"].task(task_id)
        assert task.wait() == "success"
        result, made = task.xcom(), runs["good"].task("submit").xcom()
        assert result == task.xcom("batch_job")
        same = ("name", "uid", "project_id", "region", "image", "digest", "streaming", "created", "console_url")
        assert {key: result[key] for key in same} == {key: made[key] for key in same}
        assert (made["state"], result["state"]) == ("QUEUED", "SUCCEEDED")
        assert task.links()["Batch job"] == result["console_url"]

    @pytest.mark.parametrize("task_id", ["running", "running_rescheduled"])
    def test_may_be_waited_for_until_it_runs(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["killed"].task(task_id)
        assert task.wait() == "success"
        result = task.xcom()
        assert (result["state"], result["ended"]) == ("RUNNING", None)
        assert "is RUNNING, which was waited for" in said(task)

    def test_fails_who_waits_for_its_failure(self, runs: dict[str, Run]) -> None:
        task = runs["good"].task("failure_never_comes")
        assert task.wait() == "failed"
        assert "and never was FAILED" in said(task)


class TestABadJob:
    @pytest.mark.parametrize("task_id", ["poke", "rescheduled", "deferred"])
    def test_fails_the_sensor_for_good_and_says_why(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["bad"].task(task_id)
        assert task.wait() == "failed"
        assert task.info()["try_number"] == 1
        assert "Task 0 failed (attempt 0): exit code 3" in said(task)
        assert task.xcom("batch_job")["exit_codes"] == {"0": 3}
        assert task.xcom() is None

    @pytest.mark.parametrize("task_id", ["skipped", "skipped_rescheduled", "skipped_deferred"])
    def test_skips_a_sensor_with_soft_fail(self, runs: dict[str, Run], task_id: str) -> None:
        assert runs["bad"].task(task_id).wait() == "skipped"

    def test_is_a_success_for_who_waits_for_its_failure(self, runs: dict[str, Run]) -> None:
        task = runs["bad"].task("failure")
        assert task.wait() == "success"
        assert task.xcom()["state"] == "FAILED"
        assert task.xcom()["exit_codes"] == {"0": 3}


class TestTheSensorsTimeout:
    @pytest.mark.parametrize(
        ("task_id", "seconds"), [("poke", 12), ("rescheduled", 6), ("deferred", 20), ("at_once", 0)]
    )
    def test_ends_the_wait_without_a_retry_in_every_mode(
        self, runs: dict[str, Run], batch: BatchRest, task_id: str, seconds: float
    ) -> None:
        task = runs["late"].task(task_id)
        assert task.wait() == "failed"
        info = task.info()
        if task_id == "rescheduled":  # a scheduler under load can lose a poke, and Airflow then tries again by itself
            assert info["try_number"] < 3, "all retries were used"
        else:
            assert info["try_number"] == 1
        assert "AirflowSensorTimeout" in said(task, info["try_number"])
        if task_id != "rescheduled":  # its dates are those of the last poke
            assert seconds - 0.5 <= lasted(info) < seconds + 60
            assert "a sensor never cancels a job" in said(task)
        assert batch.state(job_of(runs["late"])) == "RUNNING"

    @pytest.mark.parametrize("task_id", ["skipped_deferred", "own_time"])
    def test_skips_with_soft_fail(self, runs: dict[str, Run], task_id: str) -> None:
        assert runs["late"].task(task_id).wait() == "skipped"

    @pytest.mark.parametrize("task_id", ["poke", "deferred"])
    def test_leaves_the_lines_that_were_printed_until_then(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["late"].task(task_id)
        task.wait()
        seen = lines(task)
        assert len(seen) > 3
        assert seen == [f"tick {n}" for n in range(len(seen))]


class TestAKill:
    @pytest.mark.parametrize(("task_id", "state"), [("poke", "running"), ("deferred", "deferred")])
    def test_never_cancels_the_job(self, runs: dict[str, Run], batch: BatchRest, task_id: str, state: str) -> None:
        task = runs["killed"].task(task_id)
        task.wait(state)
        job = str(until(lambda: task.xcom("batch_job"), 60, "the sensor to have seen the job")["name"])
        task.mark("failed")
        time.sleep(8)  # twice what an operator's kill takes
        assert batch.state(job) == "RUNNING"


class TestNoJob:
    @pytest.mark.parametrize(
        ("task_id", "words"),
        [
            ("no_such_job", "There is no job projects/my-project/locations/us-central1/jobs/never-was"),
            ("no_such_job_rescheduled", "There is no job projects/my-project/locations/us-central1/jobs/never-was"),
            ("no_xcom", "has pushed no job"),
        ],
    )
    def test_fails_at_once_and_says_what_was_looked_for(self, runs: dict[str, Run], task_id: str, words: str) -> None:
        task = runs["nothing"].task(task_id)
        assert task.wait() == "failed"
        assert task.info()["try_number"] == 1
        assert words in said(task)
