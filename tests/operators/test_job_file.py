"""Where a job file's text comes from, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_batchstream.core.errors import BatchStreamError, InvalidInput
from airflow_batchstream.operators.files import read_text
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

OPERATOR = CloudBatchStreamingJobOperator(task_id="job", job_file="job.json", project_id="p", region="us-central1")


def refused(name: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_text(name, OPERATOR)
    return str(caught.value)


class TestAJobFile:
    def test_is_read_by_path_and_by_url(self, tmp_path: Path) -> None:
        (tmp_path / "job.json").write_text("{}")
        assert read_text(str(tmp_path / "job.json"), OPERATOR) == "{}"
        assert read_text(f"file://{tmp_path}/job.json", OPERATOR) == "{}"

    def test_that_is_missing_is_named_with_the_folder_that_a_relative_path_starts_at(self) -> None:
        assert "job_file: nope.json cannot be read: No such file" in refused("nope.json")
        assert "A relative path starts at the Dag file's folder" in refused("nope.json")

    def test_that_is_missing_under_an_absolute_path_is_not_looked_for_beside_the_dag(self, tmp_path: Path) -> None:
        assert "as the worker sees it" in refused(f"{tmp_path}/nope.json")
        assert "relative" not in refused(f"{tmp_path}/nope.json")

    def test_with_a_scheme_that_nobody_reads_is_refused(self) -> None:
        assert "job_file: nosuch://bucket/job.json cannot be read" in refused("nosuch://bucket/job.json")

    def test_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "job.json").write_bytes(b"{\xff}")
        assert "is no UTF-8 text (byte 1)" in refused(str(tmp_path / "job.json"))

    def test_whose_store_cannot_be_asked_is_named_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://?key_path=/nowhere/key.json")
        with pytest.raises(BatchStreamError) as caught:
            read_text("gs://bucket/job.json", OPERATOR)
        assert "job_file: gs://bucket/job.json cannot be read" in str(caught.value)
