"""Example 1: look at an image, then run it with Image streaming, from the job as Google's page writes it.

The job stands in ``example_1_job.json``, beside this file. The scan resolves the image's tag to a digest and hands the
pinned reference on: what was scanned is what runs, even if somebody moves the tag in between.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_batchstream.operators.images import ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_1_json_job",
    description="Scan an image, then run it with Image streaming; the job is a JSON file.",
    schedule=None,
    catchup=False,
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    scan = ImageScanOperator(task_id="scan", image_uri=IMAGE, region=REGION)

    CloudBatchStreamingJobOperator(
        task_id="job",
        job_file="example_1_job.json",
        image_uri=scan.output,  # goes to the job's container runnable, in the place of what the file says
        scan_image=False,  # the task above has just done it
        project_id=PROJECT,
        region=REGION,
    )
