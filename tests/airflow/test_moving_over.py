"""A Dag that was written for ``CloudBatchSubmitJobOperator`` runs as it is, the stock operator unmodified, and again
with its import and class name changed: what stays, and what is new.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
from airflow_api import AirflowApi, Run, Task
from batch_rest import BatchRest

DAGS = Path(__file__).parent / "dags"
STOCK_IMPORT = "from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator"
OUR_IMPORT = "from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator"
TASKS = ("submit", "submit_deferred", "list_jobs", "list_tasks", "read", "delete")
SECRET = "stands-in-the-spec"


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi) -> dict[str, Run]:
    """The same Dag twice, at the same time."""
    return {which: airflow.trigger(f"case_{which}_over") for which in ("moving", "moved")}


def printed(task: Task) -> list[str]:
    """What the containers printed, as far as the task log shows it."""
    return sorted(line.text for line in task.log() if line.logger.startswith("batch.group"))


def everything(task: Task) -> str:
    """The whole task log."""
    return "\n".join(str(line.raw) for line in task.log())


def job_id(full: str) -> str:
    return full.rpartition("/")[2]


def added_labels(spec: dict[str, Any], to: dict[str, Any]) -> set[str]:
    """The labels of the job and its VMs that the other job has not."""
    return set().union(
        *(set(one.get("labels", {})) - set(other.get("labels", {})) for one, other in (
            (spec, to), (spec["allocationPolicy"], to["allocationPolicy"])
        ))
    )  # fmt: skip


class TestMovingOver:
    def test_nothing_but_import_and_class_name_differs(self) -> None:
        stock, ours = ((DAGS / f"case_{which}_over.py").read_text() for which in ("moving", "moved"))
        moved = stock.replace(STOCK_IMPORT, OUR_IMPORT).replace(
            "CloudBatchSubmitJobOperator", "CloudBatchStreamingJobOperator"
        )
        assert list(difflib.unified_diff(moved.splitlines(), ours.splitlines())) == []
        assert stock != ours

    @pytest.mark.parametrize("which", ["moving", "moved"])
    def test_every_task_succeeds(self, runs: dict[str, Run], which: str) -> None:
        states = {name: runs[which].task(name).wait(within=180) for name in TASKS}
        assert states == dict.fromkeys(TASKS, "success")

    @pytest.mark.parametrize("which", ["moving", "moved"])
    def test_the_stock_list_and_delete_operators_work_on_the_jobs_of_both(
        self, runs: dict[str, Run], batch: BatchRest, which: str
    ) -> None:
        run = runs[which]
        run.wait(within=180)
        seen = run.task("read").xcom()
        assert seen["names"] == [run.task(name).xcom()["name"] for name in ("submit", "submit_deferred")]
        assert sorted(seen["listed"]) == sorted(seen["names"])
        assert seen["uid"] == run.task("submit").xcom()["uid"]
        assert len(run.task("list_tasks").xcom()) == 2
        assert [job["name"] for job in batch.named(f"case-{which}-over-")] == [seen["names"][0]]  # the other is deleted

    def test_the_job_keeps_its_name(self, runs: dict[str, Run]) -> None:
        for which, run in runs.items():
            run.wait(within=180)
            names = [job_id(run.task(name).xcom()["name"]) for name in ("submit", "submit_deferred")]
            assert all(name.startswith(f"case-{which}-over-") for name in names)
            assert [name.rpartition("-")[2] for name in names] == ["dict", "message"]

    def test_the_batch_job_is_the_same_but_for_what_the_page_says(self, runs: dict[str, Run], batch: BatchRest) -> None:
        for run in runs.values():
            run.wait(within=180)
        stock, ours = (self._spec(batch, run.task("submit").xcom()["name"]) for run in runs.values())
        digest = runs["moved"].task("submit").xcom()["digest"]
        container = ours["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]
        assert container.pop("enableImageStreaming") is True
        assert container["imageUri"].endswith(f"@{digest}")
        theirs = stock["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]
        container["imageUri"], command = theirs["imageUri"], theirs["commands"]
        assert command[0] == container["commands"][0]
        container["commands"] = command  # has the run's id in it
        for spec in (stock, ours):
            spec["taskGroups"][0].pop("name")
        assert added_labels(stock, ours) == set()
        assert all(key.startswith(("airflow-", "batchstream-")) for key in added_labels(ours, stock))
        for spec in (stock, ours):
            spec.pop("labels", None)
            spec["allocationPolicy"].pop("labels", None)
        assert ours == stock

    @staticmethod
    def _spec(batch: BatchRest, name: str) -> dict[str, Any]:
        output = ("name", "uid", "status", "createTime", "updateTime")
        return {key: value for key, value in batch.job(name).items() if key not in output}


class TestWhatIsNew:
    """For the comparison in the README: the same successful job under both operators."""

    def test_what_the_containers_print_is_in_the_task_log(self, runs: dict[str, Run]) -> None:
        for run in runs.values():
            run.wait(within=180)
        run = runs["moved"]
        assert printed(run.task("submit")) == [f"{run.run_id} 0", f"{run.run_id} 1"]
        assert printed(run.task("submit_deferred")) == ["from a message"]
        run = runs["moving"]
        assert f"{run.run_id} 0" not in [line.text for line in run.task("submit").log()]
        assert "from a message" not in [line.text for line in run.task("submit_deferred").log()]

    def test_xcom_holds_no_environment(self, runs: dict[str, Run]) -> None:
        for run in runs.values():
            run.wait(within=180)
        stock, ours = (run.task("submit").xcom() for run in runs.values())
        assert SECRET in str(stock)
        assert SECRET not in str(ours)
        assert (stock["status"]["state"], ours["state"]) == (4, "SUCCEEDED")
        assert ours["exit_codes"] == {}

    def test_what_reads_the_stock_xcom_finds_it_where_the_page_says(self, runs: dict[str, Run]) -> None:
        for run in runs.values():
            run.wait(within=180)
        stock, ours = (run.task("submit").xcom() for run in runs.values())
        counts = stock["status"]["task_groups"]["group0"]["counts"]
        assert {state: int(count) for state, count in counts.items()} == ours["task_counts"] == {"SUCCEEDED": 2}
        assert stock["create_time"][:10] == ours["created"][:10]
        assert stock["status"]["run_duration"].endswith("s")
        assert ours["started"] < ours["ended"]
        assert len(stock["status"]["status_events"]) >= 3
        assert {"task_groups", "allocation_policy", "labels", "uid", "name"} <= set(stock)

    def test_the_rendered_template_page_shows_no_environment(self, runs: dict[str, Run]) -> None:
        for run in runs.values():
            run.wait(within=180)
        stock, ours = (str(run.task("submit").info()["rendered_fields"]) for run in runs.values())
        assert SECRET in stock
        assert SECRET not in ours

    def test_buttons_lead_to_the_job(self, runs: dict[str, Run]) -> None:
        for run in runs.values():
            run.wait(within=180)
        stock, ours = (run.task("submit").links() for run in runs.values())
        assert stock == {}
        assert set(ours) == {"Batch job", "Batch job logs"}
