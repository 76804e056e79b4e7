"""The operators of images: the one that looks at an image before a job is made of it, and the one that repairs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, XComArg

from airflow_batchstream import connection
from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.operators import fail_on as fail_on_words
from airflow_batchstream.operators import regions
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.operators.repair import ImageRepairOperator
from airflow_batchstream.operators.scanning import SCAN_KEY, refuse_all, warn_of_unpinned
from airflow_batchstream.tasklog import TaskLog

__all__ = ["SCAN_KEY", "ImageRepairOperator", "ImageScanOperator"]

_NOT_SCANNED = "No image was looked at"


class ImageScanOperator(BaseOperator):
    """Tell whether Image streaming can start images, and pin their tags to the digests that were looked at.

    Reads an image's manifest and config, and of its layers the smallest ones only. Fails, with what to do about it, if
    an image breaks a rule of Image streaming. ``return_value`` is the pinned reference, to be handed to a job's
    ``image_uri``; XCom ``image_scan`` is a dict of what was found. Of a list of images both are lists, in its order.

    :param image_uri: ``LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE`` with a tag or digest; or a list of such.
    :param region: the region that the job will run in; the image's location must contain it. None leaves that untold.
    :param machine_type: the job's machine type, which decides between amd64 and arm64; amd64 where it is not said.
    :param fail_on: which answers fail the task: ``"broken"`` (default) a broken rule, an image that does not exist
        included; ``"unknown"`` also what could not be told, as of a registry that cannot be reached; ``"never"`` none.
        The name of an image whose digest could not be told is returned as it is written.
    :param max_small_blobs: how many small layers of one image may be read where its config does not settle whether they
        are empty; of the ones beyond it that could not be told.
    :param gcp_conn_id: the Airflow connection whose credentials read the registry.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    """

    template_fields: Sequence[str] = (
        "image_uri",
        "region",
        "machine_type",
        "fail_on",
        "gcp_conn_id",
        "impersonation_chain",
    )
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        image_uri: str | Sequence[str] | XComArg,
        region: str | XComArg | None = None,
        machine_type: str | XComArg | None = None,
        fail_on: str | XComArg = "broken",
        max_small_blobs: int = 8,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_uri = image_uri
        self.region = region
        self.machine_type = machine_type
        self.fail_on = fail_on
        self.max_small_blobs = max_small_blobs
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        fail_on_words.check_literal("fail_on", fail_on, _NOT_SCANNED)
        regions.check_literal(region, _NOT_SCANNED)
        if type(max_small_blobs) is not int or max_small_blobs < 0:
            says, remedy = f"{max_small_blobs!r} is no number of layers.", "Give 0 or more, such as 8, without quotes."
            found = [Finding("argument", Verdict.BROKEN, "max_small_blobs", max_small_blobs, says, remedy)]
            raise InvalidInput(found, lead=_NOT_SCANNED)

    def execute(self, context: Any) -> str | list[str]:
        """Look at the images and return their pinned references."""
        from airflow_batchstream.core.images.scan_summary import summary
        from airflow_batchstream.core.images.scan_table import table
        from airflow_batchstream.services.scan import scan_all

        log = TaskLog(self.log)
        with final_errors(_NOT_SCANNED):
            fail_on = fail_on_words.checked("fail_on", self.fail_on, _NOT_SCANNED)
            names, region = _names(self.image_uri), regions.checked(self.region, _NOT_SCANNED)
            endpoint, _ = connection.locate(self.gcp_conn_id, self.impersonation_chain)
            connection.reach(endpoint)
            credentials, _ = connection.credentials(endpoint)
            scans = asyncio.run(
                scan_all(
                    names,
                    region=region,
                    machine_type=str(self.machine_type or ""),
                    endpoint=endpoint,
                    token=connection.token_source(credentials),
                    tolerant=True,
                    missing_too=True,
                    most_small_blobs=self.max_small_blobs,
                )
            )
            for one in scans:
                log.table(table(one))
            log.table(summary(scans))
            found = [one.as_dict() | {"region": region} for one in scans]
            single = isinstance(self.image_uri, str)
            context["ti"].xcom_push(key=SCAN_KEY, value=found[0] if single else found)
            refuse_all(scans, fail_on)
            warn_of_unpinned(scans, log, "this task returns")
        pinned = [one.pinned or one.asked for one in scans]
        return pinned[0] if single else pinned


def _names(image_uri: Any) -> list[str]:
    """The images' names, of one or of a list."""
    if isinstance(image_uri, str):
        return [image_uri]
    names: list[Any] = [None]
    if isinstance(image_uri, Iterable) and not isinstance(image_uri, Mapping | bytes):
        names = list(image_uri)
    for index, name in enumerate(names):
        if not isinstance(name, str):
            value = name if isinstance(image_uri, list | tuple) else image_uri
            path = f"image_uri[{index}]" if isinstance(image_uri, list | tuple) else "image_uri"
            says, remedy = f"{str(value)[:200]!r} is no image's name.", "Give a name, or a list of names."
            raise InvalidInput([Finding("argument", Verdict.BROKEN, path, value, says, remedy)], lead=_NOT_SCANNED)
    return names
