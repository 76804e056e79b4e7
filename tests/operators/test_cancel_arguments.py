"""What a Dag author may write for the cancel operator; no Airflow runs."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.operators.cancel import CloudBatchCancelJobOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator


def cancel(**arguments: Any) -> CloudBatchCancelJobOperator:
    return CloudBatchCancelJobOperator(task_id="cancel", **arguments)


class TestWhichJob:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "no job is named"),
            ({"job": "x", "job_task_id": "y"}, "job_task_id and job are given"),
            ({"job_task_id": "y"}, "region: no region is given"),
            ({"job": "jobs/j"}, "projects/PROJECT/locations"),
        ],
    )
    def test_is_told_once_or_the_dag_does_not_import(self, arguments, words):
        with pytest.raises(InvalidInput, match=words) as refused:
            cancel(**arguments)
        assert str(refused.value).startswith("The arguments are wrong, 1 problem")

    def test_may_be_a_task_a_template_or_a_name(self):
        for given in ({"job_task_id": "t", "region": "us-central1"}, {"job": "{{ x }}"}, {"job_id": "{{ x }}"}):
            assert cancel(**given)


class TestATeardown:
    def test_belongs_to_the_setup_whose_job_it_cancels(self):
        with DAG("d", schedule=None):
            service = CloudBatchStreamingJobOperator(
                task_id="service", image_uri="us-docker.pkg.dev/p/r/i", region="us-central1", wait_for_completion=False
            )
            ends = cancel(job_task_id="service", region="us-central1").as_teardown(setups=service)
            assert service.is_setup
            assert ends.is_teardown
            assert ends.upstream_task_ids == {"service"}
