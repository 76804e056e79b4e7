"""Which status events should catch the eye."""

from __future__ import annotations

import logging

import pytest

from airflow_batchstream.core.jobs import events
from airflow_batchstream.core.jobs.model import Event

JOB = "projects/1/locations/us-central1/jobs/quota-error-report"


class TestTheLevelOfAnEvent:
    @pytest.mark.parametrize(
        "says",
        [
            "Quota checking process decided to delay scheduling",
            f"Job state is set from RUNNING to FAILED for job {JOB}.Job failed due to task failure.",
            "VM in zone us-central1-a: ZONE_RESOURCE_POOL_EXHAUSTED",
        ],
    )
    def test_is_a_warning_where_nothing_else_tells_of_it(self, says: str) -> None:
        assert events.level(Event(0, "", says)) == logging.WARNING

    def test_does_not_depend_on_what_the_job_is_called(self) -> None:
        says = f"Job state is set from SCHEDULED to RUNNING for job {JOB}."
        assert events.level(Event(0, "", says)) == logging.INFO
