"""What Airflow's provider manager is told. Imports no Airflow."""

from __future__ import annotations

from typing import Any

from airflow_batchstream import __version__


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-batchstream",
        "name": "Batchstream",
        "description": "Image-streaming-enabled Google Cloud Batch jobs, with their logs in the task log.",
        "versions": [__version__],
    }
