"""Example 6: every night, with something that must not be left running.

A job that never ends by itself (a database, a simulator) is started for other tasks to use. The teardown cancels it,
whatever became of them, also if one fails or the run is marked as failed.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

from airflow.sdk import DAG

from airflow_batchstream.operators.cancel import CloudBatchCancelJobOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_6_nightly",
    description="Every night: start a service on Batch, use it, cancel it.",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    service = CloudBatchStreamingJobOperator(
        task_id="service",
        image_uri=IMAGE,
        entrypoint="sh",
        commands=["-c", "while true; do echo serving; sleep 5; done"],
        max_run_duration="4h",  # Batch ends it then, should Airflow not
        project_id=PROJECT,
        region=REGION,
        wait_for_completion=False,
    )

    serves = CloudBatchJobSensor(task_id="serves", job=service.output, wait_for="RUNNING", timeout=1800)

    work = CloudBatchStreamingJobOperator(
        task_id="work",
        image_uri=IMAGE,
        entrypoint="sh",
        commands=["-c", 'echo "working for the night of {{ dag_run.run_after | ds }}"; sleep 2'],
        project_id=PROJECT,
        region=REGION,
    )

    cancel = CloudBatchCancelJobOperator(
        task_id="cancel",
        job_task_id="service",
        project_id=PROJECT,
        region=REGION,
        wait_for_end=True,
    ).as_teardown(setups=service)

    serves >> work >> cancel
