"""What a Dag author may write, from the operator's arguments to the job that would be sent; no Airflow runs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, XComArg

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.jobs import prepare
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

IMAGE = "us-docker.pkg.dev/my-project/repo/image:1.0"
PLACE = {"project_id": "my-project", "region": "us-central1"}


def operator(**arguments: Any) -> CloudBatchStreamingJobOperator:
    return CloudBatchStreamingJobOperator(task_id="job", **(PLACE | arguments))


def rendered(op: CloudBatchStreamingJobOperator, **context: Any) -> dict[str, Any]:
    """The job that would be sent."""
    op.render_template_fields(context)
    assert op._rendered is not None
    return prepare.effective(op._rendered)[0]


def container(job: dict[str, Any]) -> dict[str, Any]:
    return job["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]


def job_of(**container_fields: Any) -> dict[str, Any]:
    return {"taskGroups": [{"taskSpec": {"runnables": [{"container": {"imageUri": IMAGE, **container_fields}}]}}]}


class TestTheJob:
    @pytest.mark.parametrize(
        "written",
        [
            job_of(commands=["a"]),
            json.dumps(job_of(commands=["a"])),
            "taskGroups:\n- taskSpec:\n    runnables:\n    - container:\n"
            f"        image_uri: {IMAGE}\n        commands: [a]\n",
        ],
        ids=["dict", "json", "yaml"],
    )
    def test_may_be_a_dict_or_text(self, written):
        assert container(rendered(operator(job=written))) == {"imageUri": IMAGE, "commands": ["a"]}

    def test_may_be_a_job_of_googles_client(self):
        from google.cloud import batch_v1

        runnable = batch_v1.Runnable(container=batch_v1.Runnable.Container(image_uri=IMAGE, commands=["a"]))
        group = batch_v1.TaskGroup(
            task_spec=batch_v1.TaskSpec(runnables=[runnable], max_run_duration="3600s"), task_count=2
        )
        job = rendered(operator(job=batch_v1.Job(task_groups=[group])))
        assert container(job) == {"imageUri": IMAGE, "commands": ["a"]}
        assert job["taskGroups"][0]["taskCount"] == "2"

    def test_may_be_a_whole_template_that_is_parsed_once_it_is_rendered(self):
        op = operator(job="{{ the_job }}")
        assert container(rendered(op, the_job=json.dumps(job_of(commands=["b"]))))["commands"] == ["b"]

    def test_is_parsed_first_and_its_strings_are_rendered_then(self):
        text = json.dumps(job_of(commands=["{{ word }} ${#a[@]}", "${#b[@]}"]))
        assert container(rendered(operator(job=text), word='a "quoted" {word}'))["commands"] == [
            'a "quoted" {word} ${#a[@]}',
            "${#b[@]}",
        ]

    def test_may_end_strings_in_json_without_a_file_being_looked_for(self):
        op = operator(job=job_of(commands=["--config", "/mnt/cfg.json"]))
        op.resolve_template_files()
        assert container(rendered(op))["commands"] == ["--config", "/mnt/cfg.json"]

    def test_may_come_in_short_form(self):
        op = operator(
            image_uri=IMAGE,
            commands=["a", "{{ b }}"],
            environment={"KEY": "{{ b }}"},
            task_count="{{ n }}",
            max_run_duration=timedelta(minutes=5),
            machine_type="e2-small",
        )
        job = rendered(op, b="B", n="3")
        assert container(job)["commands"] == ["a", "B"]
        assert job["taskGroups"][0]["taskCount"] == "3"
        assert job["taskGroups"][0]["taskSpec"]["environment"]["variables"] == {"KEY": "B"}
        assert job["taskGroups"][0]["taskSpec"]["maxRunDuration"] == "300s"

    def test_may_be_completed_by_the_short_form(self):
        op = operator(job=job_of(), commands=["x"], labels={"team": "a"})
        job = rendered(op)
        assert container(job)["commands"] == ["x"]
        assert job["labels"] == {"team": "a"}


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"job": {"taskGroop": []}}, "taskGroups"),
            ({"job": '{"taskGroups": [}'}, "line 1"),
            ({"image_uri": "gcr.io/p/i"}, "gcr.io"),
            ({"image_uri": IMAGE, "commands": "echo"}, r"\["),
            ({"image_uri": IMAGE, "parallelism": 0}, "parallelism"),
            ({"image_uri": IMAGE, "job_id": "Mine"}, "job_id"),
            ({"image_uri": IMAGE, "labels": {"goog-x": "1"}}, "goog-"),
            ({"job": {}, "job_file": "x.json"}, "job_file"),
            ({"image_uri": IMAGE, "job_id": "a", "job_name": "b"}, "job_name"),
            ({}, "image_uri"),
            ({"image_uri": IMAGE, "timeout_seconds": "soon"}, "timeout_seconds"),
            ({"image_uri": IMAGE, "log_severity": "LOUD"}, "log_severity"),
        ],
    )
    def test_in_a_literal_is_a_dag_import_error(self, arguments, words):
        with pytest.raises(InvalidInput, match=words):
            operator(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"image_uri": "ubuntu:22.04"}, "- image_uri: 'ubuntu:22.04': The image is on docker.io"),
            ({"image_uri": IMAGE, "volumes": ["data"]}, "- volumes[0]: 'data'"),
            ({"image_uri": IMAGE, "labels": {"goog-x": "1"}}, "- labels.goog-x: "),
            ({"job": job_of() | {"labels": {"goog-x": "1"}}, "labels": {"a": "1"}}, "- job.labels.goog-x: "),
            ({"job": job_of(volumes=["data"]), "image_uri": IMAGE}, "container.volumes[0]: 'data'"),
        ],
    )
    def test_is_told_by_the_name_that_the_author_wrote(self, arguments, words):
        with pytest.raises(InvalidInput) as caught:
            operator(**arguments)
        assert words in str(caught.value)

    def test_in_a_file_is_told_by_the_file_s_name(self):
        request = operator(job_file="job.json")._request()
        with pytest.raises(InvalidInput, match=r"- job\.json\.taskGroups\[0\].*imageUri: 'ubuntu'"):
            prepare.effective(replace(request, job=job_of(imageUri="ubuntu")), path="job.json")

    def test_is_no_number_of_a_project(self):
        assert prepare.named(operator(image_uri=IMAGE, project_id=1234)._request()).project_id == "1234"

    def test_among_names_that_are_no_text_names_the_argument(self):
        with pytest.raises(InvalidInput, match=r"region: \['a'\] stands where a text belongs"):
            prepare.named(operator(image_uri=IMAGE, region=["a"])._request())

    def test_as_a_list_in_a_text_says_how_a_template_gives_lists(self):
        with pytest.raises(InvalidInput, match=r"commands: .*render_template_as_native_obj=True"):
            rendered(operator(image_uri=IMAGE, commands="{{ words }}"), words=["echo", "a"])

    def test_is_not_a_template_among_the_wait_s_numbers(self):
        assert operator(image_uri=IMAGE, timeout_seconds="{{ params.t }}", log_severity="{{ params.s }}")

    def test_beside_a_template_is_one_too(self):
        with pytest.raises(InvalidInput, match="options"):
            operator(job=job_of(commands=["{{ x }}"], options="--privileged"))

    def test_in_a_template_is_found_once_it_is_rendered(self):
        op = operator(image_uri="{{ image }}", task_count="{{ n }}")
        with pytest.raises(InvalidInput, match=r"task_count.*image|image.*task_count|no-number"):
            rendered(op, image="gcr.io/p/i", n="no-number")

    def test_with_the_wait_s_numbers_names_the_argument(self):
        with pytest.raises(InvalidInput, match="timeout_seconds"):
            prepare.timing(timeout_seconds="soon")

    @pytest.mark.parametrize("given", [{"timeout_seconds": "٣"}, {"log_limit": "٣"}, {"log_limit": "1_0"}])
    def test_in_digits_that_are_none_of_ours_names_the_argument(self, given):
        with pytest.raises(InvalidInput, match=next(iter(given))):
            prepare.timing(**given)

    @pytest.mark.parametrize(
        ("value", "seconds"), [("5", 5), (5, 5), ("1h", 3600), (timedelta(minutes=1), 60), ("90s", 90), ("+5", 5)]
    )
    def test_is_not_a_time_in_any_usual_form(self, value, seconds):
        assert prepare.timing(timeout_seconds=value).timeout == seconds

    def test_is_not_an_xcom_whose_value_comes_later(self):
        with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)):
            first = operator(image_uri=IMAGE)
            later = CloudBatchStreamingJobOperator(
                task_id="later", image_uri=XComArg(first), commands=[XComArg(first)], **PLACE
            )
        assert later.upstream_task_ids == {"job"}


class TestTheRenderedTemplatePage:
    def test_shows_no_environment_s_value_of_either_form(self):
        job = job_of(commands=["x"])
        job["taskGroups"][0]["taskSpec"]["environment"] = {"variables": {"A": "s3cret-a"}}
        op = operator(job=job, environment={"B": "{{ b }}"})
        spec = rendered(op, b="s3cret-b")
        shown = json.dumps({field: getattr(op, field) for field in op.template_fields}, default=str)
        assert "s3cret" not in shown
        assert spec["taskGroups"][0]["taskSpec"]["environment"]["variables"] == {"A": "s3cret-a", "B": "s3cret-b"}

    def test_shows_no_password_on_a_command_line(self):
        op = operator(image_uri=IMAGE, commands=["--password", "s3cret-a", "--url=https://me:s3cret-b@host/"])
        assert container(rendered(op))["commands"][1] == "s3cret-a"
        assert "s3cret" not in str(op.commands)

    def test_shows_the_job_in_canonical_form(self):
        op = operator(job={"task_groups": [{"task_spec": {"runnables": [{"container": {"image_uri": IMAGE}}]}}]})
        rendered(op)
        assert container(op.job)["imageUri"] == IMAGE


class TestADagWrittenForTheStockOperator:
    """What ``CloudBatchSubmitJobOperator`` takes is taken, with the same meaning."""

    def test_has_all_its_parameters_taken(self):
        from airflow.providers.google.cloud.operators.cloud_batch import CloudBatchSubmitJobOperator
        from google.cloud import batch_v1

        container = batch_v1.Runnable.Container(image_uri=IMAGE, commands=["{{ word }}"])
        spec = batch_v1.TaskSpec(runnables=[batch_v1.Runnable(container=container)])
        arguments: dict[str, Any] = {
            "task_id": "submit",
            "project_id": "my-project",
            "region": "us-central1",
            "job_name": "job-{{ word }}",
            "job": batch_v1.Job(task_groups=[batch_v1.TaskGroup(task_spec=spec, task_count=2)]),
            "polling_period_seconds": 5,
            "timeout_seconds": 600,
            "gcp_conn_id": "other",
            "impersonation_chain": ["a@b.iam.gserviceaccount.com"],
            "deferrable": True,
        }
        CloudBatchSubmitJobOperator(**arguments)
        op = CloudBatchStreamingJobOperator(**arguments)
        assert rendered(op, word="hi")["taskGroups"][0]["taskCount"] == "2"
        assert op._rendered is not None
        assert op._rendered.job_id == "job-hi"
        assert op.deferrable
