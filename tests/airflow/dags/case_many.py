"""Twenty tasks that wait in one triggerer at the same time; the first one's job prints 40,000 lines a minute."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
JOBS = 20
WAIT = "echo waits; while [ ! -e /gate/open ]; do sleep 0.2; done; "
CHATTY = (
    "end=$(($(date +%s) + 15)); i=0; while [ $(date +%s) -lt $end ]; do "
    "n=0; while [ $n -lt 67 ]; do echo line $i; i=$((i+1)); n=$((n+1)); done; sleep 0.1; done; echo $i lines"
)
QUIET = "n=1; while [ $n -le 5 ]; do echo word $n; n=$((n+1)); sleep 1; done"

with DAG(dag_id="case_many", schedule=None, catchup=False, max_active_tasks=JOBS):
    CloudBatchStreamingJobOperator.partial(
        task_id="job",
        image_uri=IMAGE,
        job={
            "taskGroups": [
                {
                    "taskSpec": {
                        "volumes": [
                            {"gcs": {"remotePath": "my-bucket/many/{{ run_id }}"}, "mountPath": "/mnt/disks/gate"}
                        ]
                    }
                }
            ]
        },
        volumes=["/mnt/disks/gate:/gate"],
        entrypoint="sh",
        project_id="my-project",
        region="us-central1",
        polling_period_seconds=2,
        deferrable=True,
    ).expand(commands=[["-c", WAIT + (CHATTY if n == 0 else QUIET)] for n in range(JOBS)])
