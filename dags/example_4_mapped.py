"""Example 4: a job for each input of a list.

The list is known when the Dag runs: a task finds the inputs, and Airflow makes an instance of ``job`` for each, with a
job, a log and retries of its own. ``report`` reads all their results.

Many small inputs are better one job of many tasks (example 5): a job for each has its own VMs.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_4_mapped",
    description="A job for each input of a list.",
    schedule=None,
    catchup=False,
    params={
        "inputs": Param(
            ["apples", "pears", "plums"],
            type="array",
            items={"type": "string"},
            title="Inputs",
            description="One a line",
            minItems=1,
        )
    },
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:

    @task
    def commands() -> list[list[str]]:
        """The container's arguments for each input; here the list comes from the form."""
        inputs: list[str] = get_current_context()["params"]["inputs"]
        return [["-c", 'echo "working on $0"', name] for name in inputs]

    jobs = CloudBatchStreamingJobOperator.partial(
        task_id="job",
        image_uri=IMAGE,
        entrypoint="sh",
        project_id=PROJECT,
        region=REGION,
        retries=1,
        max_active_tis_per_dagrun=10,
    ).expand(commands=commands())

    @task
    def report(results: Any) -> dict[str, str]:
        """Which job did what."""
        return {str(result["name"]).rpartition("/")[2]: str(result["state"]) for result in results}

    report(jobs.output)
