"""Example 3: one task creates the job, another one watches it.

``submit`` ends as soon as the job exists. ``watch`` waits in the triggerer, where it takes no worker slot, and shows
what the containers print. Clearing or killing ``watch`` does nothing to the job; its next try shows the log from the
beginning.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_3_submit_and_watch",
    description="Create a job in one task, and watch it in another, which waits in the triggerer.",
    schedule=None,
    catchup=False,
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    submit = CloudBatchStreamingJobOperator(
        task_id="submit",
        image_uri=IMAGE,
        entrypoint="sh",
        commands=["-c", 'for i in 1 2 3 4 5; do echo "step $i of 5"; sleep 1; done'],
        project_id=PROJECT,
        region=REGION,
        wait_for_completion=False,
    )

    CloudBatchJobSensor(
        task_id="watch",
        job=submit.output,
        get_logs=True,
        deferrable=True,
        timeout=3600,
    )
