"""Google's clients as this library makes them, against a local Batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from airflow_batchstream.clients.google import CallFailed, GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.emulator.testing import running


class TestALocalBatch:
    def test_is_asked_directly_where_a_proxy_is_set_for_the_world_outside(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens there

        async def looked(address: str) -> str:
            async with GoogleClients(Endpoint.local(address)) as clients:
                with pytest.raises(CallFailed) as failed:
                    await clients.get_job(JobName("my-project", "us-central1", "none"))
                return failed.value.trouble.code

        with running(tmp_path) as local:
            assert asyncio.run(looked(local.address)) == "NOT_FOUND"
