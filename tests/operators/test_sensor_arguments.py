"""What a Dag author may write for a sensor; no Airflow runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, BaseSensorOperator

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

NAME = "projects/p/locations/us-central1/jobs/j"


def sensor(**arguments: Any) -> CloudBatchJobSensor:
    return CloudBatchJobSensor(task_id="sensor", **({"job": NAME} | arguments))


class TestLogsInRescheduleMode:
    def test_are_refused_when_the_dag_is_parsed_with_the_reason_and_the_way_out(self):
        with pytest.raises(InvalidInput, match=r"clears the task's XCom at each poke.*deferrable=True") as refused:
            sensor(get_logs=True, mode="reschedule")
        assert str(refused.value).startswith("The arguments are wrong, 1 problem")

    @pytest.mark.parametrize(
        "more", [{"mode": "poke"}, {"deferrable": True}, {"mode": "reschedule", "deferrable": True}]
    )
    def test_go_with_every_other_mode(self, more):
        assert sensor(get_logs=True, **more).get_logs


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"job": None}, "no job is named"),
            ({"job_id": "j"}, "both given"),
            ({"job": "jobs/j"}, "projects/PROJECT/locations"),
            ({"wait_for": "RUNING"}, "Did you mean RUNNING"),
            ({"wait_for": ["RUNNING", "DONE"]}, "'DONE' is none of"),
        ],
    )
    def test_in_a_literal_is_a_dag_import_error(self, arguments, words):
        with pytest.raises(InvalidInput, match=words):
            sensor(**arguments)

    def test_in_a_template_is_left_to_the_worker(self):
        assert sensor(job="{{ x }}", wait_for="{{ y }}").wait_for == "{{ y }}"


class TestASensor:
    def test_is_one_of_airflows(self):
        assert isinstance(sensor(), BaseSensorOperator)

    def test_comes_after_the_task_whose_job_it_names(self):
        with DAG("d", schedule=None):
            made = CloudBatchStreamingJobOperator(
                task_id="made", image_uri="us-docker.pkg.dev/p/r/i", region="us-central1", wait_for_completion=False
            )
            assert sensor(job=made.output).upstream_task_ids == {"made"}

    def test_may_be_mapped_over_the_jobs_of_a_mapped_task(self):
        with DAG("d", schedule=None):
            made = CloudBatchStreamingJobOperator.partial(
                task_id="made", image_uri="us-docker.pkg.dev/p/r/i", region="us-central1"
            ).expand(commands=[["a"], ["b"]])
            mapped = CloudBatchJobSensor.partial(task_id="sensor", deferrable=True).expand(job=made.output)
            assert mapped.upstream_task_ids == {"made"}

    def test_looks_as_often_as_it_is_told_and_else_as_often_as_suits_the_endpoint(self):
        assert sensor().poll_seconds is None
        assert sensor(mode="reschedule").poke_interval == 60
        assert sensor(poke_interval=timedelta(seconds=7)).poll_seconds == 7

    @pytest.mark.parametrize("mode", ["poke", "reschedule"])
    def test_is_deferrable_by_default_where_airflow_says_so_and_no_mode_says_otherwise(self, monkeypatch, mode):
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
        assert sensor(mode=mode).deferrable is (mode == "poke")
        assert sensor(mode=mode, deferrable=False).deferrable is False
