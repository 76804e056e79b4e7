"""Example 2: any image, started by hand from Airflow's UI.

``Trigger`` shows a form: which image, which command, where, and on what machine. The job is in short form, and every
field is a template that reads the form.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_2_by_hand",
    description="Run any image of Artifact Registry with Image streaming, from a form.",
    schedule=None,
    catchup=False,
    render_template_as_native_obj=True,  # the command stays a list
    params={
        "image": Param(
            IMAGE,
            type="string",
            title="Image",
            description="LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE, with a tag or a digest",
            pattern=r"^[a-z0-9-]+-docker\.pkg\.dev/.+",
        ),
        "command": Param(
            ["sh", "-c", "echo hello from task $BATCH_TASK_INDEX"],
            type="array",
            items={"type": "string"},
            title="Command",
            description="The program and its arguments, one a line",
            minItems=1,
        ),
        "region": Param(REGION, type="string", title="Region", description="The image's location must contain it"),
        "machine_type": Param(
            "e2-standard-4",
            type="string",
            title="Machine type",
            examples=["e2-medium", "e2-standard-4", "e2-standard-8", "n2-standard-16"],
        ),
    },
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:
    CloudBatchStreamingJobOperator(
        task_id="job",
        image_uri="{{ params.image }}",
        entrypoint="{{ params.command[0] }}",
        commands="{{ params.command[1:] }}",
        machine_type="{{ params.machine_type }}",
        project_id=PROJECT,
        region="{{ params.region }}",
    )
