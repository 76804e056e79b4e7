"""Every example Dag is run as it stands, in a real Airflow against a local Batch."""

from __future__ import annotations

import pytest
from airflow_api import AirflowApi, ApiError
from batch_rest import BatchRest


class TestExample1:
    def test_the_job_runs_the_digest_that_was_scanned(self, airflow: AirflowApi, batch: BatchRest) -> None:
        run = airflow.trigger("example_1_json_job")
        assert run.wait() == "success"
        pinned = run.task("scan").xcom()
        assert "@sha256:" in pinned
        job = run.task("job").xcom("batch_job")
        (runnable,) = batch.job(job["name"])["taskGroups"][0]["taskSpec"]["runnables"]
        assert runnable["container"]["imageUri"] == pinned
        assert runnable["container"]["enableImageStreaming"] is True

        log = run.task("job").log()
        for n in range(2):
            assert [(line.level, line.text) for line in log if line.logger == f"batch.group0.{n}"] == [
                ("info", f"hello from task {n} of 2"),
                ("info", "step 1 of 3"),
                ("info", "step 2 of 3"),
                ("info", "step 3 of 3"),
                ("error", "a word on stderr"),
            ]


class TestExample2:
    def test_the_form_decides_what_runs_and_on_what(self, airflow: AirflowApi, batch: BatchRest) -> None:
        command = ["sh", "-c", "echo from the form: $1 $2", "sh", "two words", "{{ not a template }}"]
        run = airflow.trigger("example_2_by_hand", command=command, machine_type="e2-medium")
        assert run.wait() == "success"
        lines = [line.text for line in run.task("job").log() if line.logger == "batch.group0.0"]
        assert lines == ["from the form: two words {{ not a template }}"]
        job = batch.job(run.task("job").xcom("batch_job")["name"])
        assert job["allocationPolicy"]["instances"][0]["policy"]["machineType"] == "e2-medium"

    def test_it_runs_with_nothing_filled_in(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_2_by_hand")
        assert run.wait() == "success"

    def test_the_form_refuses_an_image_from_elsewhere(self, airflow: AirflowApi) -> None:
        with pytest.raises(ApiError) as refused:
            airflow.trigger("example_2_by_hand", image="docker.io/library/busybox")
        assert refused.value.status == 400
