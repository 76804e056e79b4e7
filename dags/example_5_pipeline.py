"""Example 5: a pipeline through a bucket.

A task writes inputs into a folder of a bucket. One job of many tasks works on them: Batch mounts the folder as a
volume, and each task takes the input of its index and writes a result. The last task reads the results.

``BATCHSTREAM_BUCKET`` names the bucket. ``BATCHSTREAM_BUCKET_URL`` says where Airflow finds it, if not under
``gs://BUCKET``: with a local Batch, whose buckets are folders, it is ``file://STATE_DIR/buckets/BUCKET``.
"""

from __future__ import annotations

import logging
import os
import re
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, get_current_context, task

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")
BUCKET = os.environ.get("BATCHSTREAM_BUCKET", "my-bucket")
BUCKET_URL = os.environ.get("BATCHSTREAM_BUCKET_URL", f"gs://{BUCKET}")

ADD_UP = """\
total=0
while read number; do total=$((total + number)); done < /work/input-$BATCH_TASK_INDEX.txt
echo "part $BATCH_TASK_INDEX is $total"
echo $total > /work/result-$BATCH_TASK_INDEX.txt
"""


def bucket() -> ObjectStoragePath:
    """The bucket, as Airflow reads and writes it."""
    conn_id = "google_cloud_default" if BUCKET_URL.startswith("gs://") else None
    return ObjectStoragePath(BUCKET_URL, conn_id=conn_id)


with DAG(
    dag_id="example_5_pipeline",
    description="Inputs into a bucket, a job of many tasks over them, the results out of it.",
    schedule=None,
    catchup=False,
    params={"parts": Param(4, type="integer", minimum=1, maximum=100, title="Parts", description="Tasks of the job")},
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:

    @task
    def write_inputs() -> str:
        """An input for each part: the numbers 1 to 100, dealt out. Returns the run's own folder."""
        context = get_current_context()
        parts = int(context["params"]["parts"])
        folder = f"example-5/{re.sub(r'[^A-Za-z0-9]+', '-', str(context['run_id']))}"
        place = bucket() / folder
        place.mkdir(parents=True, exist_ok=True)
        for part in range(parts):
            numbers = range(part + 1, 101, parts)
            (place / f"input-{part}.txt").write_text("".join(f"{number}\n" for number in numbers))
        return folder

    add_up = CloudBatchStreamingJobOperator(
        task_id="add_up",
        job={
            "taskGroups": [
                {
                    "taskSpec": {
                        "volumes": [
                            {
                                "gcs": {"remotePath": BUCKET + "/{{ ti.xcom_pull(task_ids='write_inputs') }}"},
                                "mountPath": "/mnt/disks/work",
                            }
                        ]
                    }
                }
            ]
        },
        image_uri=IMAGE,
        entrypoint="sh",
        commands=["-c", ADD_UP],
        volumes=["/mnt/disks/work:/work"],
        task_count="{{ params.parts }}",
        project_id=PROJECT,
        region=REGION,
    )

    @task
    def read_results(folder: Any) -> int:
        """The sum of all parts."""
        total = sum(int(path.read_text()) for path in (bucket() / folder).iterdir() if path.name.startswith("result-"))
        logging.getLogger("example_5").info("The numbers 1 to 100 add up to %d", total)
        return total

    folder = write_inputs()
    folder >> add_up >> read_results(folder)
