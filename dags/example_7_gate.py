"""Example 7: nothing runs that was not looked at.

The scan is a gate: it fails unless every rule of Image streaming is known to hold, also where it could not be told, as
of a registry that does not answer. It hands the digest on, so the job's own scan is off: what was scanned is what runs.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG

from airflow_batchstream.operators.images import ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")
MACHINE_TYPE = "e2-standard-4"

with DAG(
    dag_id="example_7_gate",
    description="A scan as a gate before a job.",
    schedule=None,
    catchup=False,
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    scan = ImageScanOperator(
        task_id="scan",
        image_uri=IMAGE,
        region=REGION,
        machine_type=MACHINE_TYPE,  # decides which platform of the image is looked at
        fail_on="unknown",
    )

    CloudBatchStreamingJobOperator(
        task_id="job",
        image_uri=scan.output,
        scan_image=False,
        entrypoint="sh",
        commands=["-c", "echo this image was looked at"],
        machine_type=MACHINE_TYPE,
        project_id=PROJECT,
        region=REGION,
    )
