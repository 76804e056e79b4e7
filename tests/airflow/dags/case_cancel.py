"""A task that cancels another task's job: as a teardown, by hand, and where there is nothing to cancel."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group

from airflow_batchstream.operators.cancel import CloudBatchCancelJobOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
PLACE = {"project_id": "my-project", "region": "us-central1"}
LONG = ["-c", "sleep 300"]
SERVICE: dict[str, Any] = {"image_uri": IMAGE, "entrypoint": "sh", "wait_for_completion": False} | PLACE


def cancel(task_id: str, job_task_id: str, **more: Any) -> CloudBatchCancelJobOperator:
    """Cancels the job of another task."""
    return CloudBatchCancelJobOperator(task_id=task_id, job_task_id=job_task_id, **(PLACE | more))


def service(task_id: str = "service", **more: Any) -> CloudBatchStreamingJobOperator:
    """A job that goes on until somebody cancels it."""
    return CloudBatchStreamingJobOperator(task_id=task_id, commands=LONG, **(SERVICE | more))


with DAG(dag_id="case_cancel_teardown", schedule=None, catchup=False):
    started = service()
    works = CloudBatchJobSensor(task_id="works", job=started.output, wait_for="RUNNING", poke_interval=1)

    @task
    def fails() -> None:
        """What uses the service, and fails."""
        raise RuntimeError("on purpose")

    works >> fails() >> cancel("teardown", "service", wait_for_end=True).as_teardown(setups=started)

with DAG(dag_id="case_cancel_again", schedule=None, catchup=False):
    started = service()
    first = cancel("first", "service", wait_for_end=True, timeout_seconds="{{ '1m' }}")
    by_name = CloudBatchCancelJobOperator(task_id="by_name", job="{{ ti.xcom_pull(task_ids='service')['name'] }}")
    by_xcom = CloudBatchCancelJobOperator(task_id="by_xcom", job=started.output)
    started >> first >> [by_name, by_xcom]

with DAG(dag_id="case_cancel_by_labels", schedule=None, catchup=False):

    @task
    def forget() -> None:
        """As if the task had died between the job's creation and its XCom."""
        from airflow.sdk.bases.xcom import BaseXCom

        ti = get_current_context()["ti"]
        for key in ("batch_job", "return_value"):
            BaseXCom.delete(key=key, task_id="service", dag_id=ti.dag_id, run_id=ti.run_id, map_index=-1)

    service() >> forget() >> cancel("cancel", "service")

with DAG(dag_id="case_cancel_mapped", schedule=None, catchup=False):
    every = CloudBatchStreamingJobOperator.partial(task_id="service", **SERVICE).expand(commands=[LONG, LONG])
    every >> cancel("cancel", "service", wait_for_end=True)

    @task_group
    def each(name: str) -> None:
        """A service for each, and its own end."""
        one = service(environment={"NAME": name})
        one >> cancel("cancel", "each.service").as_teardown(setups=one)

    each.expand(name=["a", "b"])

with DAG(dag_id="case_cancel_run_failed", schedule=None, catchup=False):
    started = service()
    works = CloudBatchJobSensor(task_id="works", job=started.output, wait_for="FAILED", poke_interval=1)
    works >> cancel("teardown", "service").as_teardown(setups=started)

with DAG(dag_id="case_cancel_nothing", schedule=None, catchup=False):
    cancel("no_such_job", "never", trigger_rule="all_done")
    CloudBatchCancelJobOperator(task_id="no_xcom", job="{{ ti.xcom_pull(task_ids='never') }}")
    CloudBatchCancelJobOperator(task_id="no_name", job_id="never-was", **PLACE)
