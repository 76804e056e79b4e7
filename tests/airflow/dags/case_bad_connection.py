"""A connection that only workers have: its variable is set where this file is parsed, and a triggerer parses none; and
one in Airflow's database, for both.

The worker takes Google's own names, which lead to the local Batch (TLS), since a local Batch needs no connection.
"""

from __future__ import annotations

import json
import os

from airflow.sdk import DAG

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

os.environ.pop("BATCH_EMULATOR_HOST", None)
os.environ["AIRFLOW_CONN_WORKERS_ONLY"] = json.dumps({"conn_type": "google_cloud_platform"})

with DAG(dag_id="case_bad_connection", schedule=None, catchup=False):
    for name, connection in (("job", "workers_only"), ("beside", "in_database"), ("too", "in_database")):
        CloudBatchStreamingJobOperator(
            task_id=name,
            image_uri=os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0"),
            scan_image=False,
            entrypoint="sh",
            commands=["-c", "sleep 300" if name == "job" else "sleep 8; echo hello; sleep 4"],
            project_id="my-project",
            region="us-central1",
            gcp_conn_id=connection,
            deferrable=True,
            polling_period_seconds=1,
        )
