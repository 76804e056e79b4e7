"""The job operator as people use it among ``@task`` functions, in a real Airflow against a local Batch."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from airflow_api import AirflowApi, Run, Task
from batch_rest import BatchRest

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
NAMES = ("xcom", "mapped", "no_xcom", "setup", "retries", "branches", "groups", "templates")


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi) -> dict[str, Run]:
    """The runs, all under way."""
    return {name: airflow.trigger(f"case_taskflow_{name}") for name in NAMES}


def lines(task: Task, number: int = 1) -> list[tuple[str, str]]:
    """What the job's containers printed: tag and text."""
    prefix = "batch."
    return [
        (line.logger.removeprefix(prefix), line.text)
        for line in task.log(number)
        if line.logger.startswith("batch.group")
    ]


def texts(task: Task, number: int = 1) -> list[str]:
    return [text for _, text in lines(task, number)]


def succeeded(task: Task) -> Task:
    """The task, after its success."""
    assert task.wait(within=150) == "success", "\n".join(str(line.raw) for line in task.log())
    return task


def group_of(batch: BatchRest, task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """The job as Batch holds it, and its task group."""
    job = batch.job(task.xcom("batch_job")["name"])
    return job, job["taskGroups"][0]


class TestValuesOfOtherTasks:
    def test_may_stand_in_every_parameter(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = succeeded(runs["xcom"].task("every"))
        job, group = group_of(batch, task)
        spec, (runnable,) = group["taskSpec"], group["taskSpec"]["runnables"]
        assert (group["taskCount"], group["parallelism"], spec["maxRunDuration"]) == ("2", "1", "3600s")
        assert runnable["container"]["volumes"] == ["/tmp/batchstream-taskflow:/data"]
        assert spec["environment"]["variables"] == {"WORD": "hello"}
        assert job["allocationPolicy"]["instances"][0]["policy"]["machineType"] == "e2-medium"
        assert job["allocationPolicy"]["serviceAccount"]["email"].startswith("runner@")
        assert job["labels"]["team"] == "blue"
        assert set(texts(task)) == {"one", "two"}  # of what went to stderr,
        assert len(texts(task)) == 3  # three lines at most

    def test_go_on_to_the_next_task_as_an_argument(self, runs: dict[str, Run]) -> None:
        assert succeeded(runs["xcom"].task("state_of")).xcom() == "SUCCEEDED"

    @pytest.mark.parametrize("kind", ["dict", "text"])
    def test_may_be_the_whole_job(self, runs: dict[str, Run], kind: str) -> None:
        assert texts(succeeded(runs["xcom"].task(f"from_{kind}"))) == [f"from a {kind}"]

    def test_may_be_the_name_of_a_file(self, runs: dict[str, Run]) -> None:
        assert "step 3 of 3" in texts(succeeded(runs["xcom"].task("from_file")))


class TestMappedJobs:
    def test_run_each_command_in_each_image(self, runs: dict[str, Run]) -> None:
        tasks = [succeeded(runs["mapped"].task("crossed", n)) for n in range(4)]
        assert sorted(texts(task)[0] for task in tasks) == ["green", "green", "red", "red"]
        results = [task.xcom() for task in tasks]
        assert len({result["name"] for result in results}) == 4
        assert len({result["image"] for result in results}) == 2
        assert len({result["digest"] for result in results}) == 1

    def test_do_not_read_an_image_that_the_scan_task_before_them_has_read(self, runs: dict[str, Run]) -> None:
        said = [line.text for line in succeeded(runs["mapped"].task("handed_on")).log()]
        assert any("is as the task scan scanned it (holds): it is not read again" in text for text in said)
        assert not any("may be streamed: every rule" in text for text in said)

    def test_whose_own_scan_is_off_know_what_a_mapped_scan_behind_a_gate_has_found(
        self, runs: dict[str, Run], batch: BatchRest
    ) -> None:
        task = succeeded(runs["mapped"].task("behind_a_gate"))
        assert task.xcom()["streamed"] == "eligible"
        assert group_of(batch, task)[0]["labels"]["batchstream-scan"] == "holds"

    def test_are_read_together_by_the_next_task(self, runs: dict[str, Run]) -> None:
        found = succeeded(runs["mapped"].task("words")).xcom()
        assert len(found) == 4

    def test_are_each_seen_by_a_sensor_mapped_over_them(self, runs: dict[str, Run]) -> None:
        for n in range(4):
            seen = succeeded(runs["mapped"].task("sensed", n)).xcom()
            assert seen["name"] == runs["mapped"].task("crossed", n).xcom()["name"]

    def test_may_differ_in_several_parameters(self, runs: dict[str, Run]) -> None:
        first, second = (succeeded(runs["mapped"].task("settings_each", n)) for n in (0, 1))
        assert sorted(lines(first)) == [("group0.0", "first"), ("group0.1", "first")]
        assert lines(second) == [("group0.0", "second")]


class TestWithoutXComPush:
    def test_only_the_return_value_is_left_out(self, runs: dict[str, Run]) -> None:
        task = succeeded(runs["no_xcom"].task("job"))
        assert task.xcom() is None
        assert task.xcom("batch_job")["state"] == "SUCCEEDED"
        assert task.xcom("_batchstream_owner") == task.info()["id"]
        assert task.links()["Batch job"] == task.xcom("batch_job")["console_url"]


class TestSetupAndTeardown:
    def test_a_job_may_be_either_and_the_teardown_runs_after_a_failure(self, runs: dict[str, Run]) -> None:
        run = runs["setup"]
        assert texts(succeeded(run.task("after"))) == ["tearing down"]
        assert texts(run.task("before")) == ["setting up"]
        assert run.task("fails").state() == "failed"
        assert run.wait() == "failed"


class TestRetries:
    def test_run_a_new_job_after_a_failed_one(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["retries"].task("second_time")
        assert task.wait("success", try_number=2) == "success"
        assert (texts(task, 1), texts(task, 2)) == (["try 1"], ["try 2"])
        jobs = batch.siblings(task.xcom()["name"])
        assert [job[-2:] for job in jobs] == ["-1", "-2"]

    def test_are_not_spent_on_what_would_fail_again(self, runs: dict[str, Run]) -> None:
        task = runs["retries"].task("not_at_all")
        assert task.wait() == "failed"
        assert task.info()["try_number"] == 1

    @pytest.mark.parametrize(("task_id", "tries"), [("policy_by_class", 1), ("policy_by_exit_code", 2)])
    def test_may_be_decided_by_a_policy_that_sees_our_errors(
        self, runs: dict[str, Run], task_id: str, tries: int
    ) -> None:
        if AIRFLOW < (3, 3):
            pytest.skip("not applicable: before Airflow 3.3 there is no retry_policy")
        task = runs["retries"].task(task_id)
        assert task.wait("failed", try_number=tries) == "failed"
        assert task.info()["try_number"] == tries


class TestBranches:
    def test_go_on_by_trigger_rule_and_read_what_the_failed_job_left(self, runs: dict[str, Run]) -> None:
        run = runs["branches"]
        assert run.wait() == "failed"
        states = {name: run.task(name).state() for name in ("fails", "on_failure", "always", "on_success")}
        assert states == {
            "fails": "failed",
            "on_failure": "success",
            "always": "success",
            "on_success": "upstream_failed",
        }
        assert run.task("on_failure").xcom() == {"0": 5}
        assert texts(run.task("job_on_failure")) == ["mending"]


class TestTaskGroups:
    def test_may_be_nested_and_mapped(self, runs: dict[str, Run], batch: BatchRest) -> None:
        run = runs["groups"]
        deep = succeeded(run.task("outer.inner.job"))
        assert texts(deep) == ["deep"]
        assert batch.job(deep.xcom()["name"])["labels"]["airflow-task-id"] == "outer_inner_job"
        for n, word in enumerate("ab"):
            assert texts(succeeded(run.task("outer.each.job", n))) == [word]
            assert succeeded(run.task("outer.each.says", n)).xcom() == run.task("outer.each.job", n).xcom()["name"]


class TestTemplates:
    def test_may_hold_numbers_and_durations_as_text(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = succeeded(runs["templates"].task("job"))
        _, group = group_of(batch, task)
        assert (group["taskCount"], group["parallelism"]) == ("3", "2")
        assert group["taskSpec"]["maxRunDuration"] == "3600s"
        assert len(texts(task)) == 5
