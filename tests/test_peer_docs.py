"""What is said of the Google provider's operator: its parameters on the page about moving over, and the README's
comparison.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator
from google.cloud import batch_v1

from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

TOP = Path(__file__).parent.parent
PAGE, README = TOP / "docs" / "moving-over.md", TOP / "README.md"
IMAGE = "us-docker.pkg.dev/my-project/images/trainer:1"
JOB = {"taskGroups": [{"taskSpec": {"runnables": [{"container": {"imageUri": IMAGE}}]}}]}
VALUES: dict[str, Any] = {
    "project_id": "my-project",
    "region": "us-central1",
    "job_name": "train-{{ ts_nodash | lower }}",
    "job": JOB,
    "polling_period_seconds": 10.0,
    "timeout_seconds": 3600.0,
    "gcp_conn_id": "google_cloud_default",
    "impersonation_chain": ["one@p.iam.gserviceaccount.com", "two@p.iam.gserviceaccount.com"],
    "deferrable": True,
}
RENAMED = {"job_name": "job_id"}


def stock_parameters() -> set[str]:
    return set(inspect.signature(CloudBatchSubmitJobOperator.__init__).parameters) - {"self", "kwargs"}


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table below a heading line, without the table's own head."""
    table = text.split(heading)[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:2] == "| "]


class TestMovingOver:
    def test_the_page_has_each_parameter_of_the_stock_operator_and_no_other(self) -> None:
        told = [re.findall(r"`(\w+)`", row[0]) for row in rows(PAGE.read_text(), "| its parameter | here |\n")]
        assert {name for names in told for name in names} == stock_parameters()

    @pytest.mark.parametrize("name", sorted(VALUES))
    def test_each_is_taken(self, name: str) -> None:
        arguments = {"region": "us-central1", "job": JOB, name: VALUES[name]}
        operator = CloudBatchStreamingJobOperator(task_id="t", **arguments)
        assert getattr(operator, RENAMED.get(name, name)) == VALUES[name]
        CloudBatchSubmitJobOperator(task_id="t", **{**VALUES, **arguments})  # the value is one that stock takes

    def test_a_new_one_of_stock_would_be_noticed(self) -> None:
        assert set(VALUES) == stock_parameters()

    @pytest.mark.parametrize("name", sorted(CloudBatchSubmitJobOperator.template_fields))
    def test_what_may_be_a_template_there_may_be_one_here(self, name: str) -> None:
        assert RENAMED.get(name, name) in CloudBatchStreamingJobOperator.template_fields

    def test_a_message_is_taken_as_the_stock_operator_renders_it(self) -> None:
        runnable = batch_v1.Runnable(container=batch_v1.Runnable.Container(image_uri=IMAGE))
        group = batch_v1.TaskGroup(task_spec=batch_v1.TaskSpec(runnables=[runnable]))
        message = batch_v1.Job(task_groups=[group])
        for job in (message, batch_v1.Job.to_dict(message)):
            CloudBatchStreamingJobOperator(task_id="t", region="us-central1", job=job)


class TestTheComparison:
    def test_each_row_is_shown_by_tests_that_exist(self) -> None:
        table = rows(README.read_text(), "| shown by |\n")
        assert len(table) >= 10
        for row in table:
            links = re.findall(r"\[(\w+)\]\(([\w/.]+)\)", row[-1])
            assert links or "benchmarks/" in row[-1], row
            for name, path in links:
                assert re.search(rf"(class|def) {name}\b", (TOP / path).read_text()), (name, path)


class TestParsing:
    def test_importing_stock_loads_googles_clients_and_importing_ours_does_not(self) -> None:
        show = "import sys, airflow.sdk; from {} import {}; print('grpc' in sys.modules)"
        loaded = [
            subprocess.run(
                [sys.executable, "-c", show.format(operator.__module__, operator.__name__)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()[-1]
            for operator in (CloudBatchSubmitJobOperator, CloudBatchStreamingJobOperator)
        ]
        assert loaded == ["True", "False"]
