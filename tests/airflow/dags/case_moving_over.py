"""A Dag written for the Google provider's operator, with what people put around it.

``case_moved_over.py`` is the same file with its import and class name changed, and nothing else.
"""
# ruff: noqa: I001 - the changed import stays where it was

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchDeleteJobOperator
from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchListJobsOperator
from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchListTasksOperator
from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator
from airflow.sdk import DAG, task
from google.cloud import batch_v1

NAME = Path(__file__).stem
PROJECT, REGION = "my-project", "us-central1"
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
RUN = NAME.replace("_", "-") + "-{{ dag_run.start_date | ts_nodash | lower }}"

AS_DICT = {
    "taskGroups": [
        {
            "taskCount": "2",
            "taskSpec": {
                "runnables": [
                    {
                        "container": {
                            "imageUri": IMAGE,
                            "entrypoint": "sh",
                            "commands": ["-c", "echo {{ run_id }} $BATCH_TASK_INDEX"],
                        }
                    }
                ],
                "environment": {"variables": {"DB_URL": "postgresql://app:stands-in-the-spec@db/app"}},
                "maxRunDuration": "3600s",
            },
        }
    ],
    "logsPolicy": {"destination": "CLOUD_LOGGING"},
}


def as_message() -> batch_v1.Job:
    """The job as Google's samples build one."""
    runnable = batch_v1.Runnable()
    runnable.container = batch_v1.Runnable.Container()
    runnable.container.image_uri = IMAGE
    runnable.container.entrypoint = "sh"
    runnable.container.commands = ["-c", "echo from a message"]
    spec = batch_v1.TaskSpec()
    spec.runnables = [runnable]
    spec.compute_resource = batch_v1.ComputeResource(cpu_milli=500, memory_mib=64)
    group = batch_v1.TaskGroup()
    group.task_count = 1
    group.task_spec = spec
    policy = batch_v1.AllocationPolicy.InstancePolicy(machine_type="e2-standard-4")
    instances = batch_v1.AllocationPolicy.InstancePolicyOrTemplate(policy=policy)
    job = batch_v1.Job()
    job.task_groups = [group]
    job.allocation_policy = batch_v1.AllocationPolicy(instances=[instances])
    job.logs_policy = batch_v1.LogsPolicy(destination=batch_v1.LogsPolicy.Destination.CLOUD_LOGGING)
    return job


@task
def read(first: dict[str, Any], second: dict[str, Any], listed: list[dict[str, Any]]) -> dict[str, Any]:
    """What reads the XComs of the two jobs, and of the list operator."""
    return {"names": [first["name"], second["name"]], "listed": [job["name"] for job in listed], "uid": first["uid"]}


with DAG(dag_id=NAME, schedule=None, catchup=False):
    submit = CloudBatchSubmitJobOperator(
        task_id="submit",
        project_id=PROJECT,
        region=REGION,
        job_name=f"{RUN}-dict",
        job=AS_DICT,
        polling_period_seconds=1,
        timeout_seconds=300,
    )
    submit_deferred = CloudBatchSubmitJobOperator(
        task_id="submit_deferred",
        project_id=PROJECT,
        region=REGION,
        job_name=f"{RUN}-message",
        job=as_message(),
        gcp_conn_id="google_cloud_default",
        deferrable=True,
        polling_period_seconds=1,
    )
    list_jobs = CloudBatchListJobsOperator(
        task_id="list_jobs", project_id=PROJECT, region=REGION, filter=f'name:"{NAME.replace("_", "-")}"'
    )
    list_tasks = CloudBatchListTasksOperator(
        task_id="list_tasks", project_id=PROJECT, region=REGION, job_name=f"{RUN}-dict"
    )
    delete = CloudBatchDeleteJobOperator(
        task_id="delete", project_id=PROJECT, region=REGION, job_name=f"{RUN}-message", timeout=60
    )
    [submit, submit_deferred] >> list_jobs
    submit >> list_tasks
    read(submit.output, submit_deferred.output, list_jobs.output) >> delete
