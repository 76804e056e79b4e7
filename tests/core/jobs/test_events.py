"""Which status events should catch the eye, and how they are told."""

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


class TestWordsForPeople:
    def test_leave_out_the_name_of_the_job_whose_log_it_is(self) -> None:
        says = f"Job state is set from SCHEDULED to RUNNING for job {JOB}."
        assert events.short(Event(0, "", says), "quota-error-report") == "Job state is set from SCHEDULED to RUNNING."

    def test_keep_the_reason_behind_it(self) -> None:
        says = f"Job state is set from RUNNING to FAILED for job {JOB}.Job failed due to task failure."
        told = events.short(Event(0, "", says), "quota-error-report")
        assert told == "Job state is set from RUNNING to FAILED. Job failed due to task failure."

    @pytest.mark.parametrize("says", [f"Waiting for job {JOB}-2 to end.", "Quota checking delays it", ""])
    def test_change_nothing_else(self, says: str) -> None:
        assert events.short(Event(0, "", says), "quota-error-report") == says
