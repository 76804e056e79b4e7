"""One Airflow and one local Batch for the whole session; the cases run in them at the same time.

A plugin, not a ``conftest.py``, so that ``tests/airflow`` and ``tests/ui`` share the one that is started.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_api import AirflowApi
from batch_rest import BatchRest
from hello_image import push_hello
from live_airflow import LiveAirflow

from airflow_batchstream.emulator.testing import Local, running

TESTS = Path(__file__).parent.parent
CASES, EXAMPLES = TESTS / "airflow" / "dags", TESTS.parent / "dags"
IMAGE = "us-docker.pkg.dev/my-project/examples/hello:1.0"


@pytest.fixture(scope="session")
def local_batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch with a small image."""
    with running(tmp_path_factory.mktemp("local-batch"), "--grace", "2") as local:
        push_hello(local.address, IMAGE)
        yield local


@pytest.fixture(scope="session")
def batch(local_batch: Local) -> BatchRest:
    """Its REST API."""
    return BatchRest(local_batch.address)


@pytest.fixture(scope="session")
def live_airflow(tmp_path_factory: pytest.TempPathFactory, local_batch: Local) -> Iterator[LiveAirflow]:
    """A whole Airflow with the Dags of ``tests/airflow/dags`` and the example Dags."""
    home, dags = tmp_path_factory.mktemp("airflow") / "home", tmp_path_factory.mktemp("dags")
    for folder in (CASES, EXAMPLES):
        shutil.copytree(folder, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    buckets = f"file://{local_batch.state_dir}/buckets"
    env = {
        "BATCH_EMULATOR_HOST": local_batch.address,
        **local_batch.tls_environment,  # the Google provider's own operators run beside ours
        "BATCHSTREAM_IMAGE": IMAGE,
        "BATCHSTREAM_BUCKET_URL": f"{buckets}/my-bucket",
    }
    airflow = LiveAirflow(home, dags, env, triggerer=True)
    airflow.start(["case_trivial", "case_success", "case_mapped", "example_1_json_job", "example_2_by_hand"])
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow(live_airflow: LiveAirflow) -> AirflowApi:
    """Its API."""
    return AirflowApi(live_airflow.url)
