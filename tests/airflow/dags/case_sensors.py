"""Sensors of every kind on one job of another task: on a good one, a bad one, and one that goes on for minutes."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, XComArg

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
PLACE = {"project_id": "my-project", "region": "us-central1"}
NAME = "{{ ti.xcom_pull(task_ids='submit', key='batch_job')['name'] }}"
DEFERRED = {"deferrable": True, "poke_interval": 1}
# Airflow's scheduler fails a task that is queued again before it has taken note of its end: on a busy machine it needs
# seconds for that.
RESCHEDULED = {"mode": "reschedule", "poke_interval": 20}


def submit(script: str, **more: Any) -> CloudBatchStreamingJobOperator:
    """A task that only creates the job."""
    return CloudBatchStreamingJobOperator(
        task_id="submit",
        image_uri=IMAGE,
        entrypoint="sh",
        commands=["-c", script],
        wait_for_completion=False,
        **PLACE,
        **more,
    )


def sensor(task_id: str, job: Any, **more: Any) -> CloudBatchJobSensor:
    """A sensor on it."""
    defaults: dict[str, Any] = {"poke_interval": 1, "retry_delay": timedelta(seconds=1)}
    return CloudBatchJobSensor(task_id=task_id, job=job, **(defaults | more))


with DAG(dag_id="case_sensor_good", schedule=None, catchup=False):
    made = submit("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; sleep 1; done; echo last >&2")
    sensor("poke_with_logs", made.output, get_logs=True)
    sensor("only_errors", made.output, get_logs=True, log_severity="ERROR")
    sensor("rescheduled", made.output, **RESCHEDULED)
    sensor("deferred_with_logs", made.output, get_logs=True, **DEFERRED)
    made >> sensor("failure_never_comes", NAME, wait_for="FAILED", **DEFERRED)
    made >> CloudBatchJobSensor(
        task_id="by_id", job_id="{{ ti.xcom_pull(task_ids='submit')['name'].split('/')[-1] }}", **PLACE, **DEFERRED
    )

with DAG(dag_id="case_sensor_bad", schedule=None, catchup=False):
    made = submit("echo why >&2; sleep 8; exit 3", do_xcom_push=False)
    job = XComArg(made, key="batch_job")
    sensor("poke", job, retries=2, get_logs=True)
    sensor("rescheduled", job, retries=2, **RESCHEDULED)
    sensor("deferred", job, retries=2, **DEFERRED)
    sensor("skipped", job, soft_fail=True)
    sensor("skipped_rescheduled", job, soft_fail=True, **RESCHEDULED)
    sensor("skipped_deferred", job, soft_fail=True, **DEFERRED)
    sensor("failure", job, wait_for=["FAILED", "CANCELLED"])

with DAG(dag_id="case_sensor_late", schedule=None, catchup=False):
    made = submit("i=0; while [ $i -lt 600 ]; do echo tick $i; i=$((i+1)); sleep 0.5; done")
    sensor("poke", made.output, timeout=12, retries=2, get_logs=True)
    sensor("rescheduled", made.output, timeout=6, retries=2, **RESCHEDULED)
    sensor("deferred", made.output, timeout=20, retries=2, get_logs=True, **DEFERRED)
    sensor("at_once", made.output, timeout=0, **DEFERRED)
    sensor("skipped_deferred", made.output, timeout=9, soft_fail=True, **DEFERRED)
    sensor("own_time", made.output, execution_timeout=timedelta(seconds=15), soft_fail=True)

with DAG(dag_id="case_sensor_killed", schedule=None, catchup=False):
    made = submit("i=0; while [ $i -lt 600 ]; do echo tick $i; i=$((i+1)); sleep 0.5; done")
    sensor("poke", made.output)
    sensor("deferred", made.output, **DEFERRED)
    sensor("running", made.output, wait_for="{{ 'RUNNING' }}")
    sensor("running_rescheduled", made.output, wait_for=["RUNNING", "FAILED"], **RESCHEDULED)

with DAG(dag_id="case_sensor_nothing", schedule=None, catchup=False):
    sensor("no_such_job", "projects/my-project/locations/us-central1/jobs/never-was", retries=2)
    sensor("no_such_job_rescheduled", "projects/my-project/locations/us-central1/jobs/never-was", **RESCHEDULED)
    sensor("no_xcom", "{{ ti.xcom_pull(task_ids='no_such_task') }}", retries=2)
