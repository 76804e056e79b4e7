"""One Airflow for the whole session; the cases run in it at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_api import AirflowApi
from live_airflow import LiveAirflow

DAGS = Path(__file__).parent / "dags"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder run in one process of pytest-xdist: they share one Airflow."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("airflow"))


@pytest.fixture(scope="session")
def live_airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    """A whole Airflow with the Dags of this folder."""
    airflow = LiveAirflow(tmp_path_factory.mktemp("airflow") / "home", DAGS)
    airflow.start([path.stem for path in DAGS.glob("case_*.py")])
    yield airflow
    airflow.stop()


@pytest.fixture(scope="session")
def airflow(live_airflow: LiveAirflow) -> AirflowApi:
    """Its API."""
    return AirflowApi(live_airflow.url)
