"""The Google provider's operator, unmodified, and ours: the same event, side by side in one Airflow.

Each row of the README's comparison names a test here or in ``test_moving_over.py``. The local Batch stands for Batch:
what a row says of the stock operator is what it did there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from typing import Any

import psutil
import pytest
from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator
from airflow.providers.google.cloud.triggers.cloud_batch import CloudBatchJobFinishedTrigger
from airflow.sdk import BaseOperator
from airflow_api import AirflowApi, Run, Task, until
from batch_rest import BatchRest

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.emulator.testing import Local
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

EVENTS = ("exit", "cancelled", "lost", "internal", "quota", "marked", "timeout", "ignored")
STATUS = {"internal": "INTERNAL", "quota": "RESOURCE_EXHAUSTED"}
SLOW = 1.5
"""Seconds that each look at the jobs of ``timeout`` takes."""


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi, local_batch: Local) -> Iterator[dict[str, Run]]:
    """The runs, all under way."""
    for event, status in STATUS.items():
        for which in ("stock", "ours"):
            local_batch.inject(
                {"method": "GetJob", "job": f"peer-{event}-{which}-*", "status": status, "skip": 2, "times": 1}
            )
    local_batch.inject({"method": "GetJob", "job": "peer-timeout-*", "delay": SLOW})
    yield {event: airflow.trigger(f"peer_{event}") for event in EVENTS}


def both(runs: dict[str, Run], event: str) -> tuple[Task, Task]:
    return runs[event].task("stock"), runs[event].task("ours")


def job(batch: BatchRest, event: str, which: str) -> dict[str, Any]:
    """The one job of a task, once it runs or has run."""

    def found() -> dict[str, Any] | None:
        jobs = batch.named(f"peer-{event}-{which}-")
        return jobs[0] if jobs and jobs[0]["status"]["state"] not in ("QUEUED", "SCHEDULED") else None

    return dict(until(found, 90, f"the job of {event}, {which}"))


def words(task: Task, try_number: int = 1) -> str:
    """The whole task log of a try."""
    return "\n".join(str(line.raw) for line in task.log(try_number))


class TestTheRelease:
    def test_is_the_one_that_the_readme_names(self) -> None:
        assert version("apache-airflow-providers-google") == "22.8.0"


class TestAJobCancelledFromOutside:
    def test_stock_polls_on_and_ours_fails(self, runs: dict[str, Run], batch: BatchRest, local_batch: Local) -> None:
        tasks = {which: runs["cancelled"].task(which) for which in ("stock", "deferred", "ours")}
        for which in tasks:
            batch.cancel(job(batch, "cancelled", which)["name"])
        for which in tasks:
            until(lambda w=which: job(batch, "cancelled", w)["status"]["state"] == "CANCELLED", 30, "CANCELLED")
        looks = local_batch.inject(
            *({"method": "GetJob", "job": f"peer-cancelled-{w}-*", "delay": 0.001} for w in ("stock", "deferred"))
        )
        assert tasks["ours"].wait(within=60) == "failed"
        assert "cancelled" in words(tasks["ours"]).lower()

        def seen() -> bool:
            return all(fault["happened"] >= 10 for fault in local_batch.faults() if fault["id"] in looks)

        until(seen, 60, "ten looks at jobs that are CANCELLED")
        assert tasks["stock"].state() == "running"
        assert tasks["deferred"].state() == "deferred"
        for which in ("stock", "deferred"):
            tasks[which].mark("failed")


class TestAWorkerThatDies:
    def test_stock_s_retry_meets_its_own_job_and_fails_and_ours_adopts_it(
        self, runs: dict[str, Run], batch: BatchRest
    ) -> None:
        stock, ours = both(runs, "lost")
        first = {which: job(batch, "lost", which)["uid"] for which in ("stock", "ours")}
        until(lambda: ours.xcom("batch_job"), 30, "our job to be known")
        for task in (stock, ours):
            psutil.Process(int(task.info()["pid"])).kill()
        assert stock.wait("failed", "success", try_number=2, within=90) == "failed"
        assert "409" in words(stock, 2)
        until(lambda: "is RUNNING: adopted, not created again" in words(ours, 2), 90, "our job to be adopted")
        jobs = {which: batch.named(f"peer-lost-{which}-") for which in ("stock", "ours")}
        assert {which: [job["uid"] for job in found] for which, found in jobs.items()} == {
            which: [uid] for which, uid in first.items()
        }
        assert {found[0]["status"]["state"] for found in jobs.values()} == {"RUNNING"}
        assert ours.state() == "running"
        for found in jobs.values():
            batch.cancel(found[0]["name"])


class TestOneErrorWhileItPolls:
    @pytest.mark.parametrize("event", STATUS)
    def test_stock_fails_while_its_job_goes_on_and_ours_waits_it_out(
        self, runs: dict[str, Run], batch: BatchRest, local_batch: Local, event: str
    ) -> None:
        stock, ours = both(runs, event)
        assert stock.wait(within=120) == "failed"
        assert ours.wait(within=120) == "success"
        until(lambda: job(batch, event, "stock")["status"]["state"] == "SUCCEEDED", 60, "the stock job to succeed")
        hit = [f for f in local_batch.faults() if str(f["job"]).startswith(f"peer-{event}-")]
        assert [fault["happened"] for fault in hit] == [1, 1]


class TestAJobThatFails:
    def test_stock_says_that_and_ours_says_why(self, runs: dict[str, Run]) -> None:
        stock, ours = both(runs, "exit")
        assert [task.wait(within=120) for task in (stock, ours)] == ["failed", "failed"]
        assert "has failed its execution" in words(stock)
        assert "exit code" not in words(stock)
        assert "exit code 3" in words(ours)
        assert "why" in [line.text for line in ours.log()]
        assert "why" not in [line.text for line in stock.log()]
        assert ours.xcom("batch_job")["exit_codes"] == {"0": 3}
        assert stock.xcom("batch_job") is None


class TestATaskThatIsMarkedFailed:
    def test_stock_leaves_its_job_running_and_ours_cancels_it(self, runs: dict[str, Run], batch: BatchRest) -> None:
        tasks = {which: runs["marked"].task(which) for which in ("stock", "deferred", "ours")}
        names = {which: job(batch, "marked", which)["name"] for which in tasks}
        until(lambda: tasks["ours"].xcom("batch_job"), 30, "our job to be known")
        tasks["deferred"].wait("deferred")
        for task in tasks.values():
            task.mark("failed")
        until(lambda: batch.state(names["ours"]) == "CANCELLED", 30, "our job to be cancelled")
        time.sleep(5)  # Airflow kills a task within these, and cancels a trigger within one
        assert [batch.state(names[which]) for which in ("stock", "deferred")] == ["RUNNING", "RUNNING"]
        assert CloudBatchSubmitJobOperator.on_kill is BaseOperator.on_kill
        assert "on_kill" not in vars(CloudBatchJobFinishedTrigger)
        for which in ("stock", "deferred"):
            batch.cancel(names[which])


class TestATimeout:
    def test_stock_counts_its_sleeps_and_leaves_the_job_running_and_ours_cancels_it_on_time(
        self, runs: dict[str, Run], batch: BatchRest
    ) -> None:
        stock, ours = both(runs, "timeout")
        assert [task.wait(within=120) for task in (stock, ours)] == ["failed", "failed"]
        until(lambda: job(batch, "timeout", "ours")["status"]["state"] == "CANCELLED", 30, "our job to be cancelled")
        left = job(batch, "timeout", "stock")
        assert left["status"]["state"] == "RUNNING"
        waited = datetime.fromisoformat(stock.info()["end_date"]) - datetime.fromisoformat(left["createTime"])
        assert waited.total_seconds() > 6 * (1 + SLOW)  # a look and a sleep of a second, six times: not six seconds
        assert self._asked_to_end(job(batch, "timeout", "ours")) < 6 * (1 + SLOW)
        batch.cancel(left["name"])

    @staticmethod
    def _asked_to_end(ours: dict[str, Any]) -> float:
        """Seconds from a job's creation until Batch was told to cancel it."""
        told = next(
            event["eventTime"]
            for event in ours["status"]["statusEvents"]
            if "to CANCELLATION_IN_PROGRESS" in event["description"]
        )
        return (datetime.fromisoformat(told) - datetime.fromisoformat(ours["createTime"])).total_seconds()


class TestFieldsThatImageStreamingIgnores:
    def test_stock_submits_them_without_a_word_and_ours_refuses_when_the_dag_is_parsed(
        self, runs: dict[str, Run], batch: BatchRest
    ) -> None:
        stock = runs["ignored"].task("stock")
        assert stock.wait(within=120) == "success"
        container = job(batch, "ignored", "stock")["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]
        assert container["blockExternalNetwork"] is True
        assert "blockExternalNetwork" not in words(stock)
        with pytest.raises(InvalidInput) as refused:
            CloudBatchStreamingJobOperator(
                task_id="ours", region="us-central1", job={"taskGroups": [{"taskSpec": {"runnables": [
                    {"container": container}]}}]},
            )  # fmt: skip
        assert "blockExternalNetwork" in str(refused.value)
        assert "options" in str(refused.value)


class TestStockElsewhere:
    def test_it_has_no_sensor(self) -> None:
        with pytest.raises(ModuleNotFoundError):
            import_module("airflow.providers.google.cloud.sensors.cloud_batch")
