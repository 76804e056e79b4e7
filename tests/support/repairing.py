"""Repairs against a registry on loopback, in one call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from writable_registry import WritableRegistry

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.repaired import Repair
from airflow_batchstream.services.repair import repair
from airflow_batchstream.services.scan import scan

HOST = "us-docker.pkg.dev"
NAME = f"{HOST}/acme/batch/train"


def mend(at: WritableRegistry, source: str = f"{NAME}:1", target: str = f"{NAME}:2", **more: Any) -> Repair:
    return asyncio.run(repair(source, target, endpoint=Endpoint.local(at.address), **more))


def refused(at: WritableRegistry, source: str = f"{NAME}:1", target: str = f"{NAME}:2", **more: Any) -> ImageRefused:
    with pytest.raises(ImageRefused) as caught:
        mend(at, source, target, **more)
    return caught.value


def verdict(at: WritableRegistry, image: str) -> Verdict:
    return asyncio.run(scan(image, region="us-central1", endpoint=Endpoint.local(at.address))).verdict
