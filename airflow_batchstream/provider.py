"""What Airflow's provider manager is told. Imports no Airflow: it is asked before Airflow is there."""

from __future__ import annotations

from typing import Any

from airflow_batchstream import __version__

INTEGRATION = "Google Cloud Batch with Image streaming"


def get_provider_info() -> dict[str, Any]:
    """The provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-batchstream",
        "name": "Batchstream",
        "description": "Image-streaming-enabled Google Cloud Batch jobs, with their logs in the task log.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://cloud.google.com/batch/docs/use-image-streaming",
                "tags": ["gcp"],
            }
        ],
        "operators": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_batchstream.operators.cancel",
                    "airflow_batchstream.operators.images",
                    "airflow_batchstream.operators.jobs",
                    "airflow_batchstream.operators.repair",
                ],
            }
        ],
        "sensors": [{"integration-name": INTEGRATION, "python-modules": ["airflow_batchstream.sensors"]}],
        # Airflow shows only the links that a provider names.
        "extra-links": ["airflow_batchstream.links.BatchJobLink", "airflow_batchstream.links.BatchJobLogsLink"],
    }
