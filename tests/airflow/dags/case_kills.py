"""One Dag for each event of the kill matrix and each mode: its jobs run until they are told to end.

A job ends with success once the file ``<Dag>.<task>.<map index>`` is in the folder BATCHSTREAM_STOP. It ignores TERM,
so that a cancelled job is seen to end only after the local Batch's grace period.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

UNTIL_TOLD = (
    "trap '' TERM; i=0; "
    'while [ ! -e "/stop/$NAME" ]; do echo "tick $i"; i=$((i+1)); sleep 0.5; done; echo "told after $i"'
)
COMMON: dict[str, Any] = {
    "image_uri": os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0"),
    "project_id": "my-project",
    "region": "us-central1",
    "entrypoint": "sh",
    "commands": ["-c", UNTIL_TOLD],
    "volumes": [f"{os.environ.get('BATCHSTREAM_STOP', '/tmp')}:/stop:ro"],
    "polling_period_seconds": 1,
    "retries": 1,
    "retry_delay": timedelta(seconds=1),
}


def case(event: str, mode: str, *, mapped: int = 0, dagrun_timeout: timedelta | None = None, **job: Any) -> None:
    """A Dag with the task ``job`` and, if asked for, ``mapped`` over so many."""
    arguments = COMMON | {"deferrable": mode == "deferrable"} | job
    with DAG(dag_id=f"kill_{event}_{mode}", schedule=None, catchup=False, dagrun_timeout=dagrun_timeout):
        CloudBatchStreamingJobOperator(
            task_id="job",
            environment={"NAME": "{{ ti.dag_id }}.{{ ti.task_id }}.{{ ti.map_index }}"},
            **arguments,
        )
        if mapped:
            CloudBatchStreamingJobOperator.partial(task_id="mapped", **arguments).expand(
                environment=[{"NAME": f"{{{{ ti.dag_id }}}}.{{{{ ti.task_id }}}}.{n}"} for n in range(mapped)]
            )


for _mode in ("sync", "deferrable"):
    case("dagrun_timeout", _mode, mapped=1, dagrun_timeout=timedelta(seconds=100))
    case("run_failed", _mode, mapped=1)
    case("mark_failed", _mode, mapped=2)
    case("mark_success", _mode)
    case("clear", _mode, mapped=2)
    case("execution_timeout", _mode, execution_timeout=timedelta(seconds=75), retries=0)
    case("timeout_seconds", _mode, timeout_seconds=25, retries=0)
    case("queued_timeout_seconds", _mode, queued_timeout_seconds=15, retries=0)
    case("pause", _mode)
for _event in ("task_told", "task_killed", "worker_killed"):
    case(_event, "sync")
case("triggerer", "deferrable", mapped=3)
