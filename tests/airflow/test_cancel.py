"""The cancel operator in a real Airflow against a local Batch: it finds the job, and is content if there is none."""

from __future__ import annotations

from typing import Any

import pytest
from airflow_api import AirflowApi, Run, Task, until
from batch_rest import BatchRest


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi) -> dict[str, Run]:
    """The runs, all under way."""
    names = ("teardown", "again", "by_labels", "mapped", "nothing", "run_failed")
    return {name: airflow.trigger(f"case_cancel_{name}") for name in names}


def said(task: Task) -> str:
    """What its log says."""
    return "\n".join(str(line.raw) for line in task.log())


def only(task: Task) -> Any:
    """The one job that it dealt with."""
    assert task.wait() == "success", said(task)
    (done,) = task.xcom()
    return done


class TestATeardown:
    def test_cancels_the_job_of_its_setup_though_the_work_failed(self, runs: dict[str, Run], batch: BatchRest) -> None:
        run = runs["teardown"]
        done = only(run.task("teardown"))
        assert run.task("fails").state() == "failed"
        job = run.task("service").xcom()
        assert done == {"name": job["name"], "state": "CANCELLED", "did": "cancelled"}
        assert batch.state(job["name"]) == "CANCELLED"
        assert run.wait() == "failed"
        assert run.task("teardown").links()["Batch job"] == job["console_url"]
        assert "was RUNNING: cancelling it" in said(run.task("teardown"))

    def test_cancels_it_too_when_the_run_is_marked_as_failed(self, runs: dict[str, Run], batch: BatchRest) -> None:
        run = runs["run_failed"]
        run.task("works").wait("running")
        until(lambda: run.task("works").xcom("batch_job"), 60, "the work to have begun")
        run.api.call("PATCH", run.path, {"state": "failed"})
        assert only(run.task("teardown"))["did"] == "cancelled"
        assert run.wait() == "failed"


class TestAnotherTime:
    def test_it_waits_for_the_end_if_asked(self, runs: dict[str, Run]) -> None:
        assert only(runs["again"].task("first"))["state"] == "CANCELLED"

    @pytest.mark.parametrize("task_id", ["by_name", "by_xcom"])
    def test_there_is_nothing_left_to_do(self, runs: dict[str, Run], task_id: str) -> None:
        done = only(runs["again"].task(task_id))
        assert (done["did"], done["state"]) == ("ended already", "CANCELLED")
        assert "was CANCELLED already: nothing to cancel" in said(runs["again"].task(task_id))


class TestATaskWithoutXCom:
    def test_has_its_job_found_by_labels(self, runs: dict[str, Run], batch: BatchRest) -> None:
        done = only(runs["by_labels"].task("cancel"))
        assert done["did"] == "cancelled"
        assert "case-cancel-by-labels-service" in done["name"]
        assert batch.state(done["name"]) in ("CANCELLATION_IN_PROGRESS", "CANCELLED")


class TestAMappedTask:
    def test_has_all_its_jobs_cancelled_from_outside(self, runs: dict[str, Run]) -> None:
        task, jobs = runs["mapped"].task("cancel"), [runs["mapped"].task("service", n) for n in (0, 1)]
        assert task.wait() == "success"
        assert {done["name"]: done["state"] for done in task.xcom()} == {
            job.xcom()["name"]: "CANCELLED" for job in jobs
        }

    @pytest.mark.parametrize("index", [0, 1])
    def test_has_one_cancelled_from_the_same_index_of_its_group(self, runs: dict[str, Run], index: int) -> None:
        done = only(runs["mapped"].task("each.cancel", index))
        assert done["name"] == runs["mapped"].task("each.service", index).xcom()["name"]
        assert done["did"] == "cancelled"


class TestNothing:
    @pytest.mark.parametrize("task_id", ["no_such_job", "no_xcom"])
    def test_to_cancel_is_a_success(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["nothing"].task(task_id)
        assert task.wait() == "success"
        assert task.xcom() == []
        assert "There is no job: nothing to cancel." in said(task)

    def test_by_that_name_is_a_success_too(self, runs: dict[str, Run]) -> None:
        assert only(runs["nothing"].task("no_name"))["did"] == "gone"
