"""One Dag for each event that befalls a job: the Google provider's operator and ours, each with a job of its own."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator
from airflow.sdk import DAG, BaseOperator

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
LONG = "i=0; while [ $i -lt 600 ]; do i=$((i+1)); sleep 0.5; done"
"""Runs for five minutes unless it is stopped."""


def job(script: str, **container: Any) -> dict[str, Any]:
    """A job of one container that runs a script."""
    runnable = {"container": {"imageUri": IMAGE, "entrypoint": "sh", "commands": ["-c", script], **container}}
    return {
        "taskGroups": [{"taskSpec": {"runnables": [runnable]}}],
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
    }


def submit(operator: type[BaseOperator], task_id: str, event: str, spec: dict[str, Any], **more: Any) -> None:
    """A task that submits the job under a name of its own."""
    operator(
        task_id=task_id,
        job=spec,
        job_name=f"peer-{event}-{task_id}-{{{{ dag_run.start_date | ts_nodash | lower }}}}",
        project_id="my-project",
        region="us-central1",
        polling_period_seconds=1,
        retry_delay=timedelta(seconds=1),
        **more,
    )


def pair(event: str, script: str, **more: Any) -> None:
    """A Dag with the tasks ``stock`` and ``ours``, which get the same job and the same arguments; where a job can end
    without its task, also ``deferred``, the stock operator with its trigger.
    """
    with DAG(dag_id=f"peer_{event}", schedule=None, catchup=False):
        submit(CloudBatchSubmitJobOperator, "stock", event, job(script), **more)
        submit(CloudBatchStreamingJobOperator, "ours", event, job(script), **more)
        if event in ("cancelled", "marked"):
            submit(CloudBatchSubmitJobOperator, "deferred", event, job(script), deferrable=True, **more)


pair("exit", "echo why >&2; exit 3")
pair("cancelled", LONG)
pair("lost", LONG, retries=1)
pair("internal", "sleep 6; echo done")
pair("quota", "sleep 6; echo done", deferrable=True)
pair("marked", LONG)
pair("timeout", LONG, timeout_seconds=6)

with DAG(dag_id="peer_ignored", schedule=None, catchup=False):
    # Ours refuses this job when the Dag file is parsed.
    ignored = {"enableImageStreaming": True, "options": "--network none", "blockExternalNetwork": True}
    submit(CloudBatchSubmitJobOperator, "stock", "ignored", job("echo done", **ignored))
