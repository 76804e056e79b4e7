"""What a job does to the task that runs it, in a real Airflow against a local Batch, read as a user reads it: in the
task's log, through Airflow's API.

All runs are started at once; each test waits for its own. Every test looks at the whole log of its containers: every
line once, in order, with its level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import psutil
import pytest
from airflow_api import AirflowApi, LogLine, Run, Task, until
from batch_rest import BatchRest

from airflow_batchstream.emulator.testing import Local

AT_ONCE = ("success", "exit_3", "no_task", "cancelled", "marked_failed", "cleared", "fifty", "chatty", "mapped")
AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
LEAVES_WITHIN = 4.0
"""Seconds between Airflow's word to stop and its kill."""


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi, local_batch: Local) -> Iterator[dict[str, Run]]:
    """The runs, all under way; at the end none of their jobs is."""
    local_batch.inject({"job": "case-no-task", "refuse": "Quota CPUS exceeded in us-central1."})
    yield {name: airflow.trigger(f"case_{name}") for name in AT_ONCE}


def container(log: Iterable[LogLine], tag: str = "group0.0") -> list[tuple[str, str]]:
    """What a Batch task's containers printed: level and text."""
    return [(line.level, line.text) for line in log if line.logger == f"batch.{tag}"]


def words(log: Iterable[LogLine]) -> str:
    """What the operator and Airflow say."""
    return "\n".join(line.text for line in log if not line.logger.startswith("batch.group"))


def ticks(log: Iterable[LogLine]) -> list[int]:
    """The numbers that a long job counted, after the check that it printed nothing else."""
    lines = [text for _, text in container(log)]
    assert all(text.startswith("tick ") for text in lines), lines
    return [int(text.removeprefix("tick ")) for text in lines]


def job_of(task: Task) -> dict[str, Any]:
    """The task's XCom ``batch_job``, as soon as it is there."""
    return dict(until(lambda: task.xcom("batch_job"), 90, f"the job of {task.task_id}"))


def begun(task: Task) -> dict[str, Any]:
    """The job, once its first line is in the task log: while it runs."""
    job = job_of(task)
    until(lambda: container(task.log()), 60, "the first line of a running job")
    return job


class TestSuccess:
    def test_every_line_is_in_the_log_once_in_order_with_its_level(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        assert task.wait() == "success"
        lines = container(task.log())
        assert [line for line in lines if line[0] == "info"] == [("info", f"out {n}") for n in range(1, 11)]
        assert [line for line in lines if line[0] == "error"] == [("error", f"err {n}") for n in range(1, 11)]
        assert len(lines) == 20

    def test_the_log_tells_the_image_the_job_and_its_end(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        task.wait()
        said, job = words(task.log()), job_of(task)
        assert job["digest"].startswith("sha256:")
        assert job["digest"] in said
        assert job["name"] in said
        assert "SUCCEEDED" in said

    def test_the_log_says_how_the_image_came_and_never_more_than_can_be_seen(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        task.wait()
        word = job_of(task)["streamed"]
        assert word in ("requested", "eligible")  # a small image: nothing shows more
        assert f"Image streaming: {word}: " in words(task.log())

    def test_no_environment_value_is_shown(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        task.wait()
        assert "not-to-be-shown" not in "\n".join(str(line.raw) for line in task.log())
        assert "not-to-be-shown" not in str(task.info())

    def test_the_result_is_a_small_dict(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        task.wait()
        result = task.xcom()
        assert result == task.xcom("batch_job")
        assert result["state"] == "SUCCEEDED"
        assert set(result) == {
            *("name", "uid", "project_id", "region", "state", "image", "digest", "streaming", "streamed"),
            *("created", "started", "ended", "task_counts", "exit_codes", "console_url"),
        }

    def test_the_links_lead_to_the_console(self, runs: dict[str, Run]) -> None:
        task = runs["success"].task("job")
        task.wait()
        links = task.links()
        assert links["Batch job"] == job_of(task)["console_url"]
        assert "console.cloud.google.com/logs" in str(links["Batch job logs"])


class TestExitCode3:
    def test_the_failure_says_which_task_and_which_code(self, runs: dict[str, Run]) -> None:
        task = runs["exit_3"].task("job")
        assert task.wait() == "failed"
        assert container(task.log()) == [("info", "before"), ("error", "why")]
        assert "exit code 3" in words(task.log())
        job = job_of(task)
        assert job["state"] == "FAILED"
        assert job["exit_codes"] == {"0": 3}
        assert task.xcom() is None


class TestNoTaskEverRan:
    def test_the_reason_is_in_the_log(self, runs: dict[str, Run]) -> None:
        task = runs["no_task"].task("job")
        assert task.wait() == "failed"
        assert container(task.log()) == []
        assert "Quota CPUS exceeded in us-central1." in words(task.log())
        assert job_of(task)["state"] == "FAILED"


class TestCancelledFromOutside:
    def test_the_task_fails_and_is_not_tried_again(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["cancelled"].task("job")
        batch.cancel(begun(task)["name"])
        assert task.wait() == "failed"
        assert task.info()["try_number"] == 1
        seen = ticks(task.log())
        assert seen == list(range(len(seen)))
        assert "cancelled" in words(task.log()).lower()


class TestKilledByTheUser:
    def test_marking_it_failed_cancels_the_job(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["marked_failed"].task("job")
        job = begun(task)
        task.mark("failed")
        until(lambda: batch.state(job["name"]) == "CANCELLED", 30, "the job to be cancelled")
        assert task.state() == "failed"
        seen = ticks(task.log())
        assert seen == list(range(len(seen)))

    def test_clearing_it_cancels_the_job_and_runs_another(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["cleared"].task("job")
        old = begun(task)
        task.clear()
        until(lambda: batch.state(old["name"]) == "CANCELLED", 30, "the old job to be cancelled")
        task.wait("running", try_number=2)
        new = until(lambda: (j := task.xcom("batch_job")) and j["name"] != old["name"] and j, 60, "a new job")
        assert batch.state(new["name"]) in ("QUEUED", "SCHEDULED", "RUNNING")
        until(lambda: container(task.log(2)), 60, "a line of the new job")
        task.mark("failed")
        until(lambda: batch.state(new["name"]) == "CANCELLED", 30, "the new job to be cancelled")
        for log in (task.log(1), task.log(2)):
            seen = ticks(log)
            assert seen == list(range(len(seen)))


class TestMapped:
    def test_each_of_three_has_its_own_job_and_its_own_lines(self, runs: dict[str, Run]) -> None:
        tasks = [runs["mapped"].task("job", n) for n in range(3)]
        assert [task.wait() for task in tasks] == ["success"] * 3
        for task, name in zip(tasks, ("red", "green", "blue"), strict=True):
            assert container(task.log()) == [("info", f"{name} {n}") for n in (1, 2, 3)]
        assert len({job_of(task)["name"] for task in tasks}) == 3


class TestFiftyTasks:
    def test_each_batch_task_has_its_lines_under_its_own_tag(self, runs: dict[str, Run]) -> None:
        task = runs["fifty"].task("job")
        assert task.wait(within=180) == "success"
        log = task.log()
        for n in range(50):
            assert container(log, f"group0.{n}") == [("info", f"begin {n}"), ("info", f"end {n}")]
        tags = {f"batch.group0.{n}" for n in range(50)}
        assert [line.raw for line in log if line.logger.startswith("batch.group") and line.logger not in tags] == []
        assert job_of(task)["task_counts"] == {"SUCCEEDED": 50}


class TestTenThousandLines:
    def test_all_are_there_in_order(self, runs: dict[str, Run]) -> None:
        task = runs["chatty"].task("job")
        assert task.wait(within=180) == "success"
        assert container(task.log()) == [("info", f"line {n}") for n in range(10_000)]


STOPS = ("supervisor told", "task told", "task killed")


@pytest.fixture(scope="module")
def stopped(airflow: AirflowApi) -> dict[str, tuple[Task, dict[str, Any], datetime]]:
    """For each way in which a worker goes: the task that was running on it, its job, and when it was told."""
    ways = STOPS if AIRFLOW >= (3, 3) else STOPS[1:]
    tasks = {way: airflow.trigger("case_worker_stops").task("job") for way in ways}
    found = {}
    for way, task in tasks.items():
        job = begun(task)
        process, told = psutil.Process(int(task.info()["pid"])), datetime.now(UTC)
        if way == "supervisor told":
            process.parent().terminate()
        elif way == "task told":
            process.terminate()
        else:
            process.kill()
        found[way] = task, job, told
    return found


class TestWorkerStops:
    """A worker that shuts down tells its tasks to stop by the signal that a user's kill uses too; one that crashes says
    nothing. Neither cancels the job.
    """

    @pytest.mark.parametrize("way", STOPS)
    def test_the_job_lives_on_and_the_retry_adopts_it(
        self, stopped: dict[str, tuple[Task, dict[str, Any], datetime]], batch: BatchRest, way: str
    ) -> None:
        if way not in stopped:
            pytest.skip("not applicable: before Airflow 3.3 a supervisor does not pass SIGTERM on to its task")
        task, job, told = stopped[way]
        self._leaves_in_time(task, told, way)
        assert task.wait("success", try_number=2, within=120) == "success"
        assert task.xcom()["name"] == job["name"]
        assert task.xcom()["uid"] == job["uid"]
        assert "may be streamed: every rule" in words(task.log(1))
        assert "may be streamed: every rule" not in words(task.log(2))  # what runs was looked at
        assert "is RUNNING: adopted, not created again" in words(task.log(2))
        first, second = (container(task.log(n)) for n in (1, 2))
        whole = [("info", f"tick {n}") for n in range(50)] + [("info", "done")]
        assert second == whole
        assert first == whole[: len(first)]
        assert len(first) < len(whole)
        assert batch.siblings(job["name"]) == [job["name"].rpartition("/")[2]]

    @staticmethod
    def _leaves_in_time(task: Task, told: datetime, way: str) -> None:
        """``execute`` has left when Airflow logs its exception; a killed process says nothing any more."""
        if way == "task killed":
            return
        failed = until(
            lambda: [line for line in task.log(1) if line.text == "Task failed with exception"], 15, "execute to leave"
        )
        assert (datetime.fromisoformat(failed[0].at) - told).total_seconds() < LEAVES_WITHIN
        assert "lives on; a retry adopts it" in str(failed[0].raw)
