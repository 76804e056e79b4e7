from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.findings import Verdict, broken
from airflow_batchstream.core.images.platforms import BY_TEMPLATE
from airflow_batchstream.core.jobs import spec as specs
from airflow_batchstream.core.jobs.schema import conform
from airflow_batchstream.core.jobs.spec import Short, build, fill

DATA = Path(__file__).parents[2] / "data" / "jobs"
IMAGE = "us-docker.pkg.dev/my-project/repo/image:1.0"
RUNNABLES = "job.taskGroups[0].taskSpec.runnables"


def with_runnables(*runnables: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"taskGroups": [{"taskSpec": {"runnables": list(runnables)}}], **more}


def built(job: Any = None, **short: Any) -> dict[str, Any]:
    spec, findings = build(job, Short(**short))
    assert findings == []
    return spec


def refused(job: Any = None, **short: Any) -> dict[str, str]:
    _, findings = build(job, Short(**short))
    assert all(f.verdict is Verdict.BROKEN and f.remedy for f in findings)
    return {f.path: str(f) for f in findings}


def container(spec: dict[str, Any]) -> dict[str, Any]:
    (found,) = (container for _, container in specs.containers(spec))
    return found


class TestAJobFromTheShortFormAlone:
    def test_every_argument_finds_its_place(self) -> None:
        assert built(
            image_uri=IMAGE,
            commands=["--steps", 3],
            entrypoint="/bin/run",
            environment={"A": 1},
            volumes=["/mnt/disks/data:/data:ro"],
            machine_type="e2-standard-4",
            task_count="3",
            parallelism=2,
            max_run_duration=timedelta(hours=1),
            service_account="runner@my-project.iam.gserviceaccount.com",
            labels={"team": "data"},
        ) == {
            "labels": {"team": "data"},
            "taskGroups": [
                {
                    "taskCount": "3",
                    "parallelism": "2",
                    "taskSpec": {
                        "maxRunDuration": "3600s",
                        "environment": {"variables": {"A": "1"}},
                        "runnables": [
                            {
                                "container": {
                                    "imageUri": IMAGE,
                                    "commands": ["--steps", "3"],
                                    "entrypoint": "/bin/run",
                                    "volumes": ["/mnt/disks/data:/data:ro"],
                                }
                            }
                        ],
                    },
                }
            ],
            "allocationPolicy": {
                "serviceAccount": {"email": "runner@my-project.iam.gserviceaccount.com"},
                "instances": [{"policy": {"machineType": "e2-standard-4"}}],
            },
        }

    def test_an_image_is_enough(self) -> None:
        assert built(image_uri=IMAGE) == with_runnables({"container": {"imageUri": IMAGE}})

    def test_empty_values_of_a_form_in_the_ui_are_not_given(self) -> None:
        assert built(
            image_uri=IMAGE, commands=[], entrypoint="", environment={}, machine_type="", labels=None
        ) == built(image_uri=IMAGE)

    def test_without_job_and_image_there_is_nothing_to_run(self) -> None:
        assert "Give job=, job_file= or image_uri=." in refused()["job"]

    def test_arguments_without_an_image_say_so(self) -> None:
        assert "Give image_uri too." in refused({}, commands=["x"])["commands"]


class TestBothForms:
    def test_the_argument_wins_and_mappings_merge_by_key(self) -> None:
        job = with_runnables(
            {"container": {"imageUri": "a", "commands": ["old"], "options": "-t"}}, labels={"a": "1", "b": "2"}
        )
        job["taskGroups"][0]["taskSpec"]["environment"] = {
            "variables": {"A": "1", "B": "2"},
            "secretVariables": {"S": "x"},
        }
        spec = built(
            job, image_uri=IMAGE, commands=["new"], environment={"B": "3"}, labels={"b": "3", "c": "4"}, task_count=2
        )
        assert container(spec) == {"imageUri": IMAGE, "commands": ["new"], "options": "-t"}
        assert spec["labels"] == {"a": "1", "b": "3", "c": "4"}
        assert spec["taskGroups"][0]["taskCount"] == "2"
        assert spec["taskGroups"][0]["taskSpec"]["environment"] == {
            "variables": {"A": "1", "B": "3"},
            "secretVariables": {"S": "x"},
        }

    def test_the_job_is_left_alone(self) -> None:
        job = with_runnables({"container": {"imageUri": "a"}}, labels={"a": "1"})
        before = copy.deepcopy(job)
        built(job, image_uri=IMAGE, labels={"b": "2"}, machine_type="e2-small")
        assert job == before

    def test_the_image_goes_to_the_only_container_among_others(self) -> None:
        job = with_runnables({"script": {"text": "x"}}, {"barrier": {}}, {"container": {"imageUri": "a"}})
        assert container(built(job, image_uri=IMAGE)) == {"imageUri": IMAGE}

    def test_a_job_without_runnables_gets_a_container(self) -> None:
        assert container(built({"labels": {"a": "b"}}, image_uri=IMAGE)) == {"imageUri": IMAGE}
        assert container(built({"taskGroups": [{"taskCount": 2}]}, image_uri=IMAGE)) == {"imageUri": IMAGE}

    @pytest.mark.parametrize("name", ["image_uri", "commands", "entrypoint", "volumes"])
    def test_several_containers_are_an_error(self, name: str) -> None:
        job = with_runnables({"container": {"imageUri": "a"}}, {"container": {"imageUri": "b"}})
        value = ["/a:/b"] if name in ("commands", "volumes") else "x"
        found = refused(job, **{name: value})
        assert f"{RUNNABLES} has 2 containers" in found[name]
        assert f"{RUNNABLES}[0].container." in found[name]

    def test_only_scripts_are_an_error(self) -> None:
        found = refused(with_runnables({"script": {"text": "x"}}), image_uri=IMAGE, commands=["x"])
        assert "add a container runnable" in found["image_uri"]
        assert found.keys() == {"image_uri", "commands"}
        assert "has no container" in found["image_uri"]

    def test_the_machine_goes_to_the_policy_that_is_there(self) -> None:
        job = {
            "allocationPolicy": {"instances": [{"installGpuDrivers": True, "policy": {"provisioningModel": "SPOT"}}]}
        }
        assert built(job, machine_type="g2-standard-4")["allocationPolicy"] == {
            "instances": [
                {"installGpuDrivers": True, "policy": {"provisioningModel": "SPOT", "machineType": "g2-standard-4"}}
            ]
        }

    def test_the_machine_and_an_instance_template_exclude_each_other(self) -> None:
        job = {"allocationPolicy": {"instances": [{"instanceTemplate": "mine"}]}}
        assert (
            "instances[0].instanceTemplate both choose the machine"
            in refused(job, machine_type="e2-small")["machine_type"]
        )

    def test_an_environment_that_a_runnable_overrides_is_warned_about(self) -> None:
        job = with_runnables({"container": {"imageUri": "a"}, "environment": {"variables": {"A": "geheim", "B": "x"}}})
        _, findings = build(job, Short(environment={"A": "neu"}))
        (finding,) = findings
        assert finding.verdict is Verdict.WARNING
        assert finding.path == "environment.A"
        assert f"{RUNNABLES}[0].environment.variables.A" in finding.says
        assert "geheim" not in str(finding.as_dict())

    def test_mistakes_of_both_are_said_at_once(self) -> None:
        found = refused({"task_groups": [{"taskcount": 1}]}, commands="ls -l", max_run_duration="soon", task_count=0)
        assert found.keys() == {"job.taskGroups[0].taskcount", "commands", "max_run_duration", "task_count"}

    def test_findings_of_a_file_name_the_file(self) -> None:
        _, findings = build({"x": 1}, Short(), path="job.json")
        assert [f.path for f in findings] == ["job.json.x"]


class TestArgumentsThatMakeNoSense:
    @pytest.mark.parametrize("zero", [0, "0", 0.0, -1, "-3"])
    @pytest.mark.parametrize("name", ["parallelism", "task_count"])
    def test_none_at_all_is_refused_as_an_argument(self, name: str, zero: Any) -> None:
        assert "is less than 1" in refused(image_uri=IMAGE, **{name: zero})[name]

    def test_a_zero_inside_the_job_is_unset(self) -> None:
        job = {"taskGroups": [{"parallelism": 0, "taskSpec": {"runnables": [{"container": {"imageUri": "a"}}]}}]}
        assert "parallelism" not in built(job)["taskGroups"][0]

    def test_an_empty_image_is_refused(self) -> None:
        assert "is empty" in refused(image_uri="")["image_uri"]

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("commands", "ls", 'Write ["ls"].'),
            ("environment", ["A=1"], 'Write {"NAME": "value"}.'),
            ("volumes", "/a:/b", 'Write ["/a:/b"].'),
            ("image_uri", "${IMAGE}", "placeholder ${IMAGE}"),
            ("machine_type", "<MACHINE>", "placeholder <MACHINE>"),
            ("task_count", "many", "is no whole number"),
            ("max_run_duration", "1 fortnight", "is no duration"),
            ("labels", "a=b", "where a mapping belongs"),
        ],
    )
    def test_a_wrong_form_is_refused_under_the_arguments_name(self, name: str, value: Any, words: str) -> None:
        assert words in refused(**({"image_uri": IMAGE} | {name: value}))[name]


class TestTemplates:
    def test_templates_are_merged_as_they_are(self) -> None:
        job = with_runnables({"container": {"imageUri": "{{ params.image }}"}}, labels="{{ params.labels }}")
        short = Short(commands="{{ params.commands }}", task_count="{{ params.n }}", environment={"A": "{{ ds }}"})
        spec, findings = build(job, short, templated_ok=True)
        assert findings == []
        assert container(spec) == {"imageUri": "{{ params.image }}", "commands": "{{ params.commands }}"}
        assert spec["taskGroups"][0]["taskCount"] == "{{ params.n }}"

    @pytest.mark.parametrize(
        "job",
        [
            "{{ params.job }}",
            object(),
            {"taskGroups": "{{ x }}", "allocationPolicy": "{{ x }}"},
            {"taskGroups": ["{{ x }}"], "allocationPolicy": {"instances": "{{ x }}", "serviceAccount": "{{ x }}"}},
            {"taskGroups": [{"taskSpec": "{{ x }}"}], "allocationPolicy": {"instances": ["{{ x }}"]}},
            {"taskGroups": [{"taskSpec": {"runnables": "{{ x }}", "environment": "{{ x }}"}}]},
            {"taskGroups": [{"taskSpec": {"runnables": ["{{ x }}"]}}]},
            {"taskGroups": [{"taskSpec": {"runnables": [{"container": "{{ x }}"}]}}]},
        ],
    )
    def test_where_a_template_stands_for_the_structure_nothing_is_said(self, job: Any) -> None:
        short = Short(IMAGE, ["x"], "e", {"A": "b"}, ["/a:/b"], "e2-small", 1, 1, "1s", "a@b.c", {"a": "b"})
        _, findings = build(job, short, templated_ok=True)
        assert findings == []

    def test_literals_beside_them_are_checked(self) -> None:
        _, findings = build("{{ params.job }}", Short(commands="ls", task_count=0), templated_ok=True)
        assert {f.path for f in broken(findings)} == {"commands", "task_count"}


class TestWhatAJobNeeds:
    page = json.loads((DATA / "google_image_streaming.json").read_text())

    def test_only_what_is_missing_is_filled_in(self) -> None:
        assert fill(self.page, streaming=True, labels={}) == self.page | {
            "labels": {},
            "allocationPolicy": self.page["allocationPolicy"] | {"labels": {}},
        }

    def test_logs_go_to_cloud_logging_unless_the_user_says_otherwise(self) -> None:
        assert fill({}, streaming=True, labels={})["logsPolicy"] == {"destination": "CLOUD_LOGGING"}
        option = {"cloudLoggingOption": {"useGenericTaskMonitoredResource": True}}
        assert fill({"logsPolicy": option}, streaming=True, labels={})["logsPolicy"] == option | {
            "destination": "CLOUD_LOGGING"
        }
        path = {"destination": "PATH", "logsPath": "/mnt/logs"}
        assert fill({"logsPolicy": path}, streaming=True, labels={})["logsPolicy"] == path

    @pytest.mark.parametrize(("streaming", "expected"), [(True, [True, False, True]), (False, [False, False, False])])
    def test_streaming_is_set_where_nobody_says_and_false_wins_everywhere(
        self, streaming: bool, expected: list[bool]
    ) -> None:
        flags: list[dict[str, Any]] = [{}, {"enableImageStreaming": False}, {"enableImageStreaming": True}]
        job = with_runnables(*({"container": {"imageUri": "a"} | flag} for flag in flags), {"script": {"text": "x"}})
        filled = fill(job, streaming=streaming, labels={})
        assert [c["enableImageStreaming"] for _, c in specs.containers(filled)] == expected

    def test_labels_go_to_the_job_and_its_machines_and_never_over_a_users(self) -> None:
        job = {"labels": {"airflow-dag-id": "mine"}, "allocationPolicy": {"labels": {"team": "data"}}}
        filled = fill(job, streaming=True, labels={"airflow-dag-id": "d", "batchstream-id": "i"})
        assert filled["labels"] == {"airflow-dag-id": "mine", "batchstream-id": "i"}
        assert filled["allocationPolicy"]["labels"] == {"team": "data", "airflow-dag-id": "d", "batchstream-id": "i"}

    @given(st.integers(0, 64))
    def test_there_are_never_more_than_64_labels_and_the_first_ones_have_room(self, users: int) -> None:
        mine = {f"l{i}": "x" for i in range(users)}
        ours = {f"o{i}": "x" for i in range(8)}
        found = fill({"labels": mine}, streaming=True, labels=ours)["labels"]
        assert list(found) == [*mine, *list(ours)[: 64 - users]]

    def test_the_spec_is_left_alone_and_filling_twice_changes_nothing(self) -> None:
        before = copy.deepcopy(self.page)
        once = fill(self.page, streaming=True, labels={"a": "b"})
        assert self.page == before
        assert fill(once, streaming=True, labels={"a": "b"}) == once
        assert conform(once)[1] == []


class TestImages:
    job = with_runnables({"container": {"imageUri": "a"}}, {"script": {"text": "x"}}, {"container": {"imageUri": "b"}})

    def test_each_containers_image_is_listed_with_its_path(self) -> None:
        found = specs.images(self.job)
        assert found == [(f"{RUNNABLES}[0].container.imageUri", "a"), (f"{RUNNABLES}[2].container.imageUri", "b")]
        assert specs.images({}) == []
        assert specs.images(with_runnables({"container": {}}, {"container": {"imageUri": ""}})) == []

    def test_those_that_are_streamed_are_listed_once(self) -> None:
        filled = fill(
            with_runnables(*self.job["taskGroups"][0]["taskSpec"]["runnables"] * 2), streaming=True, labels={}
        )
        assert specs.streamed_images(filled) == ["a", "b"]
        assert specs.streamed_images(fill(filled, streaming=False, labels={})) == []

    def test_the_machine_type_is_known_where_the_job_says_it(self) -> None:
        assert specs.machine_type(built(self.job, machine_type="e2-small")) == "e2-small"
        assert specs.machine_type({}) == ""
        assert specs.machine_type({"allocationPolicy": {"instances": [{"instanceTemplate": "t"}]}}) == BY_TEMPLATE

    def test_images_are_pinned_and_the_others_stay(self) -> None:
        pinned = specs.with_images(self.job, {"a": "a@sha256:1", "c": "d"})
        assert [uri for _, uri in specs.images(pinned)] == ["a@sha256:1", "b"]
        assert [uri for _, uri in specs.images(self.job)] == ["a", "b"]
