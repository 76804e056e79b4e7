"""Example 8: an image that does not stream, repaired.

An empty layer (BuildKit makes one of ``WORKDIR`` on a folder that exists) or a layer that is there twice keeps an image
from being streamed. The scan says so and goes on, the repair writes the image anew under a tag beside it, without
moving a layer, and the job runs that one. An image that is as it should be is left as it is.

The repair gives the same digest each time, so a run that comes again finds what the one before it wrote.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_batchstream.operators.images import ImageRepairOperator, ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_8_repair",
    description="Scan an image that does not stream, repair it, run the repaired one.",
    schedule=None,
    catchup=False,
    params={
        "image": Param(
            IMAGE,
            type="string",
            title="Image",
            description="With a tag; the repaired one gets the same tag with -streaming behind it",
            pattern=r"^[a-z0-9-]+-docker\.pkg\.dev/[^@]+:[^@/]+$",
        )
    },
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    scan = ImageScanOperator(
        task_id="scan",
        image_uri="{{ params.image }}",
        region=REGION,
        fail_on="never",  # the repair comes next
    )

    repair = ImageRepairOperator(
        task_id="repair",
        source=scan.output,  # the digest that was scanned
        target="{{ params.image }}-streaming",
        move_tag=True,
    )

    CloudBatchStreamingJobOperator(
        task_id="job",
        image_uri=repair.output,
        entrypoint="sh",
        commands=["-c", "echo the repaired image runs"],
        project_id=PROJECT,
        region=REGION,
    )
