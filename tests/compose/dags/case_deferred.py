"""A job that runs long enough for its task to be deferred: its lines come from the triggerer."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

with DAG(dag_id="case_deferred", schedule=None, catchup=False):
    CloudBatchStreamingJobOperator(
        task_id="job",
        image_uri=os.environ["BATCHSTREAM_IMAGE"],
        entrypoint="sh",
        commands=["-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i of 12; sleep 1; done"],
        project_id="my-project",
        region="us-central1",
        deferrable=True,
    )
