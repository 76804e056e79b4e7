"""One Dag a case: what a job can do to the task that runs it. The tests trigger them all and look at their logs."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
LONG = 'i=0; while [ $i -lt 600 ]; do echo "tick $i"; i=$((i+1)); sleep 0.5; done'
"""Runs for five minutes unless it is stopped."""


def shell(script: str) -> dict[str, Any]:
    """A container that runs a script."""
    return {"entrypoint": "sh", "commands": ["-c", script]}


def case(dag_id: str, *, retries: int = 0, **job: Any) -> None:
    """A Dag with one task, ``job``."""
    with DAG(dag_id=dag_id, schedule=None, catchup=False):
        CloudBatchStreamingJobOperator(
            task_id="job",
            image_uri=IMAGE,
            project_id="my-project",
            region="us-central1",
            polling_period_seconds=1,
            retries=retries,
            retry_delay=timedelta(seconds=1),
            **job,
        )


case(
    "case_success",
    **shell('for i in 1 2 3 4 5 6 7 8 9 10; do echo "out $i"; echo "err $i" >&2; sleep 0.1; done'),
    environment={"API_TOKEN": "not-to-be-shown-1234"},
)
case("case_exit_3", **shell("echo before; echo why >&2; exit 3"), retries=0)
case("case_no_task", **shell("echo never"), job_id="case-no-task")
case("case_cancelled", **shell(LONG), retries=3)
case("case_marked_failed", **shell(LONG), retries=3)
case("case_cleared", **shell(LONG))
case("case_worker_stops", **shell(LONG.replace("600", "50") + "; echo done"), retries=1)
case(
    "case_fifty", **shell('echo "begin $BATCH_TASK_INDEX"; echo "end $BATCH_TASK_INDEX"'), task_count=50, parallelism=8
)
case("case_chatty", **shell('i=0; while [ $i -lt 10000 ]; do echo "line $i"; i=$((i+1)); done'))

with DAG(dag_id="case_mapped", schedule=None, catchup=False):
    CloudBatchStreamingJobOperator.partial(
        task_id="job",
        image_uri=IMAGE,
        project_id="my-project",
        region="us-central1",
        polling_period_seconds=1,
        entrypoint="sh",
    ).expand(commands=[["-c", f"for i in 1 2 3; do echo {name} $i; done"] for name in ("red", "green", "blue")])
