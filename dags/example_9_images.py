"""Example 9: every night, all images of a list; one report.

Each image is looked at by a task of its own, so that its table is easy to find. None of them fails the night: the
report does, at the end, if an image does not stream, and it names all of them.
"""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, XComArg, get_current_context, task

from airflow_batchstream.operators.images import ImageScanOperator

PROJECT = os.environ.get("BATCHSTREAM_PROJECT", "my-project")
REGION = os.environ.get("BATCHSTREAM_REGION", "us-central1")
IMAGE = os.environ.get("BATCHSTREAM_IMAGE", f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0")

with DAG(
    dag_id="example_9_images",
    description="Every night: do these images stream? One report.",
    schedule="0 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    params={
        "images": Param(
            [IMAGE],
            type="array",
            items={"type": "string"},
            title="Images",
            description="One a line",
            minItems=1,
        )
    },
    tags=["batchstream", "example"],
    doc_md=__doc__,
) as dag:

    @task
    def images() -> list[str]:
        """The images; here from the form, elsewhere perhaps from a repository's list."""
        return list(get_current_context()["params"]["images"])

    scans = ImageScanOperator.partial(
        task_id="scan",
        region=REGION,
        fail_on="never",
        max_active_tis_per_dagrun=10,
    ).expand(image_uri=images())

    @task(retries=0)
    def report(found: Any) -> dict[str, str]:
        """Which image streams; fails if one does not."""
        log = logging.getLogger("example_9")
        verdicts = {}
        for scan in found:
            verdicts[str(scan["image"])] = str(scan["verdict"])
            log.info("%-16s  %s", scan["verdict"], scan["image"])
            for finding in scan["findings"]:
                log.warning("%-16s    %s", "", finding["says"])
        broken = sorted(image for image, verdict in verdicts.items() if verdict == "broken")
        if broken:
            raise ValueError(f"These images do not stream: {', '.join(broken)}")
        return verdicts

    report(XComArg(scans, key="image_scan"))
