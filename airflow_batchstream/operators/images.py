"""The operators of images: the one that looks at an image before a job is made of it, and the one that repairs it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, XComArg

from airflow_batchstream import connection
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.operators.repair import ImageRepairOperator
from airflow_batchstream.tasklog import TaskLog

__all__ = ["SCAN_KEY", "ImageRepairOperator", "ImageScanOperator"]

SCAN_KEY = "image_scan"
"""XCom key of the small dict that says what was found."""


class ImageScanOperator(BaseOperator):
    """Tell whether Image streaming can start an image, and pin its tag to the digest that was looked at.

    Reads the image's manifest and config, never its layers. Fails, with what to do about it, if the image breaks a rule
    of Image streaming. ``return_value`` is the pinned reference, to be handed to a job's ``image_uri``; XCom
    ``image_scan`` is a dict of what was found.

    :param image_uri: ``LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`` with a tag or digest.
    :param region: the region that the job will run in; the image's location must contain it. None leaves that untold.
    :param machine_type: the job's machine type, which decides between amd64 and arm64; amd64 where it is not said.
    :param gcp_conn_id: the Airflow connection whose credentials read the registry.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    """

    template_fields: Sequence[str] = ("image_uri", "region", "machine_type", "gcp_conn_id", "impersonation_chain")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        image_uri: str | XComArg,
        region: str | XComArg | None = None,
        machine_type: str | XComArg | None = None,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_uri = image_uri
        self.region = region
        self.machine_type = machine_type
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Any) -> str:
        """Look at the image and return its pinned reference."""
        from airflow_batchstream.services.scan import refuse, scan, table

        with final_errors():
            endpoint, _ = connection.locate(self.gcp_conn_id, self.impersonation_chain)
            connection.reach(endpoint)
            credentials, _ = connection.credentials(endpoint)
            found = asyncio.run(
                scan(
                    str(self.image_uri),
                    region=str(self.region or ""),
                    machine_type=str(self.machine_type or ""),
                    endpoint=endpoint,
                    token=connection.token_source(credentials),
                )
            )
            TaskLog(self.log).table(table(found))
            context["ti"].xcom_push(key=SCAN_KEY, value=found.as_dict())
            refuse(found)
        return str(found.pinned)
