"""Every example Dag is run as it stands, in a real Airflow against a local Batch."""

from __future__ import annotations

import pytest
from airflow_api import AirflowApi, ApiError
from airflow_fixtures import IMAGE
from batch_rest import BatchRest
from hello_image import push_with_an_empty_layer

from airflow_batchstream.emulator.testing import Local

BROKEN = f"{IMAGE}-with-an-empty-layer"


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

        assert run.task("job").xcom("batch_job")["streamed"] == "eligible"  # though the job's own scan is off

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


class TestExample3:
    def test_the_sensor_shows_the_log_of_the_job_that_the_other_task_made(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_3_submit_and_watch")
        assert run.wait() == "success"
        submit, watch = run.task("submit"), run.task("watch")
        assert [line.text for line in submit.log() if line.logger == "batch.group0.0"] == []
        lines = [line.text for line in watch.log() if line.logger == "batch.group0.0"]
        assert lines == [f"step {n} of 5" for n in range(1, 6)]
        assert watch.xcom()["name"] == submit.xcom()["name"]


class TestExample4:
    def test_each_input_has_a_job_of_its_own(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_4_mapped", inputs=["one", "two words"])
        assert run.wait() == "success"
        for n, name in enumerate(("one", "two words")):
            lines = [line.text for line in run.task("job", n).log() if line.logger == "batch.group0.0"]
            assert lines == [f"working on {name}"]
        assert list(run.task("report").xcom().values()) == ["SUCCEEDED", "SUCCEEDED"]


class TestExample5:
    def test_the_job_works_on_what_one_task_wrote_and_another_one_reads(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_5_pipeline", parts=3)
        assert run.wait() == "success"
        assert run.task("read_results").xcom() == 5050
        log = run.task("add_up").log()
        parts = [line.text for n in range(3) for line in log if line.logger == f"batch.group0.{n}"]
        assert parts == [f"part {n} is {sum(range(n + 1, 101, 3))}" for n in range(3)]


class TestExample6:
    def test_the_service_runs_while_the_work_is_done_and_is_cancelled_then(
        self, airflow: AirflowApi, batch: BatchRest
    ) -> None:
        run = airflow.trigger("example_6_nightly")
        assert run.wait(within=180) == "success"
        service = run.task("service").xcom()
        assert run.task("serves").xcom()["state"] == "RUNNING"
        assert run.task("work").xcom()["state"] == "SUCCEEDED"
        (done,) = run.task("cancel").xcom()
        assert done == {"name": service["name"], "state": "CANCELLED", "did": "cancelled"}
        assert batch.state(service["name"]) == "CANCELLED"


@pytest.fixture(scope="module")
def broken(local_batch: Local) -> str:
    """An image that runs, and does not stream."""
    push_with_an_empty_layer(local_batch.address, BROKEN, IMAGE)
    return BROKEN


class TestExample7:
    def test_the_job_runs_what_passed_the_gate(self, airflow: AirflowApi, batch: BatchRest) -> None:
        run = airflow.trigger("example_7_gate")
        assert run.wait() == "success"
        job = batch.job(run.task("job").xcom("batch_job")["name"])
        (runnable,) = job["taskGroups"][0]["taskSpec"]["runnables"]
        assert runnable["container"]["imageUri"] == run.task("scan").xcom()
        scanned = run.task("scan").xcom("image_scan")
        assert scanned["verdict"] == job["labels"]["batchstream-scan"] == "holds"
        assert job["labels"]["batchstream-bytes"] == str(scanned["compressed_bytes"])
        said = [line.text for line in run.task("job").log()]
        assert any("is as the task scan scanned it (holds): it is not read again" in text for text in said)
        assert any("Image streaming: eligible: the scan found the rules kept" in text for text in said)


class TestExample8:
    def test_the_job_runs_the_repaired_image(self, airflow: AirflowApi, batch: BatchRest, broken: str) -> None:
        run = airflow.trigger("example_8_repair", image=broken)
        assert run.wait() == "success"
        assert run.task("scan").xcom("image_scan")["verdict"] == "broken"
        pinned = run.task("repair").xcom()
        assert pinned.startswith(broken.rsplit(":", 1)[0] + "@sha256:")
        assert pinned != run.task("scan").xcom()
        log = run.task("job").log()
        assert [line.text for line in log if line.logger == "batch.group0.0"] == ["the repaired image runs"]
        assert any("may be streamed: every rule" in line.text for line in log)

    def test_an_image_that_needs_no_repair_is_left_as_it_is(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_8_repair")
        assert run.wait() == "success"
        assert run.task("repair").xcom() == run.task("scan").xcom()


class TestExample9:
    def test_the_report_names_each_image_that_does_not_stream(self, airflow: AirflowApi, broken: str) -> None:
        run = airflow.trigger("example_9_images", images=[IMAGE, broken])
        assert run.wait() == "failed"
        report = run.task("report")
        said = [line.text for line in report.log()]
        assert any(text.split() == ["holds", IMAGE] for text in said)
        assert any(text.split() == ["broken", broken] for text in said)
        assert f"These images do not stream: {broken}" in str([line.raw for line in report.log()])

    def test_it_is_well_where_all_stream(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("example_9_images", images=[IMAGE])
        assert run.wait() == "success"
        assert run.task("report").xcom() == {IMAGE: "holds"}
