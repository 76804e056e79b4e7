from __future__ import annotations

import copy
import json
import pathlib
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import pytest
from google.cloud import batch_v1
from google.protobuf import duration_pb2, json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.jobs.batch_v1 import Field, table
from airflow_batchstream.core.jobs.job_text import parse_text
from airflow_batchstream.core.jobs.schema import conform, conform_field, duration

DATA = pathlib.Path(__file__).parents[2] / "data" / "jobs"
CONTAINER = "job.taskGroups[0].taskSpec.runnables[0].container"


def job(container: Any = None, *, task: Any = None, **more: Any) -> dict[str, Any]:
    """A small job around a container."""
    spec = {"runnables": [{"container": container}]} if container is not None else {}
    return {"taskGroups": [{"taskSpec": spec | (task or {})}], **more}


def canonical(value: Any) -> dict[str, Any]:
    spec, findings = conform(value)
    assert findings == []
    return spec


def complaints(value: Any, **how: Any) -> dict[str, str]:
    """What was found, by path; every finding names a way out."""
    _, findings = conform(value, **how)
    assert all(f.verdict is Verdict.BROKEN and f.says and f.remedy for f in findings)
    return {f.path: str(f) for f in findings}


class TestWhatPeopleWriteIsRead:
    def test_camel_and_snake_case_may_be_mixed(self) -> None:
        written = {"task_groups": [{"taskCount": "1", "task_spec": {"maxRetryCount": 2}}], "logsPolicy": {}}
        assert canonical(written) == {
            "taskGroups": [{"taskCount": "1", "taskSpec": {"maxRetryCount": 2}}],
            "logsPolicy": {},
        }

    @pytest.mark.parametrize("value", [3, "3", 3.0, "3.0", "3e0", Decimal(3), "+3", " 3 "])
    def test_a_whole_number_comes_in_many_forms(self, value: Any) -> None:
        assert canonical(job(taskGroups=[{"taskCount": value}]))["taskGroups"] == [{"taskCount": "3"}]
        assert canonical(job(task={"maxRetryCount": value}))["taskGroups"][0]["taskSpec"] == {"maxRetryCount": 3}

    @pytest.mark.parametrize("value", ["SPOT", "spot", 2, "2", 2.0, batch_v1.AllocationPolicy.ProvisioningModel.SPOT])
    def test_an_enum_comes_by_name_or_number(self, value: Any) -> None:
        written = {"allocationPolicy": {"instances": [{"policy": {"provisioningModel": value}}]}}
        assert canonical(written)["allocationPolicy"]["instances"][0]["policy"] == {"provisioningModel": "SPOT"}

    @pytest.mark.parametrize("value", [True, "true", "True", "yes", "on"])
    def test_a_boolean_may_come_as_a_text(self, value: Any) -> None:
        assert canonical(job({"enableImageStreaming": value})) == job({"enableImageStreaming": True})

    def test_numbers_and_paths_stand_where_texts_belong(self) -> None:
        written = job({"commands": ["sleep", 5, 0.1, pathlib.PurePosixPath("/data")]})
        assert canonical(written) == job({"commands": ["sleep", "5", "0.1", "/data"]})

    def test_texts_of_other_classes_become_plain_ones(self) -> None:
        class Machine(StrEnum):
            SMALL = "e2-small"

        spec = canonical({"allocationPolicy": {"instances": [{"policy": {"machineType": Machine.SMALL}}]}})
        assert type(spec["allocationPolicy"]["instances"][0]["policy"]["machineType"]) is str

    def test_tuples_are_lists(self) -> None:
        assert canonical(job({"commands": ("a", "b")})) == job({"commands": ["a", "b"]})

    def test_null_is_unset_and_an_empty_message_is_set(self) -> None:
        written = {"labels": None, "taskGroups": [{"taskSpec": {"runnables": [{"barrier": {}}], "volumes": None}}]}
        assert canonical(written) == {"taskGroups": [{"taskSpec": {"runnables": [{"barrier": {}}]}}]}

    def test_what_only_batch_writes_is_dropped(self) -> None:
        described = job({"imageUri": "a"}) | {
            "name": "projects/p/locations/r/jobs/j",
            "uid": "u",
            "status": {"state": "X"},
        }
        described["taskGroups"][0]["name"] = "projects/p/..."
        assert canonical(described) == job({"imageUri": "a"})

    def test_zeros_count_as_unset(self) -> None:
        written = {
            "priority": 0,
            "labels": {},
            "taskGroups": [{"parallelism": "0", "schedulingPolicy": 0, "taskSpec": {}}],
        }
        assert canonical(written) == {"taskGroups": [{"taskSpec": {}}]}

    def test_empty_values_inside_lists_and_mappings_are_kept(self) -> None:
        written = job({"commands": ["", "x"]}, task={"environment": {"variables": {"EMPTY": ""}}})
        assert canonical(written) == written

    def test_an_explicit_false_against_streaming_is_kept(self) -> None:
        assert canonical(job({"imageUri": "a", "enable_image_streaming": False})) == job(
            {"imageUri": "a", "enableImageStreaming": False}
        )

    def test_googles_page_is_read_as_it_stands(self) -> None:
        page = json.loads((DATA / "google_image_streaming.json").read_text())
        assert canonical(page) == page

    def test_yaml_without_the_traps_of_yaml_1_1(self) -> None:
        spec = canonical(parse_text((DATA / "job.yaml").read_text(), "job.yaml"))
        task = spec["taskGroups"][0]["taskSpec"]
        common = {"on": "on", "MODE": "010", "AT": "12:30", "VERSION": "1.10", "DAY": "2026-01-02", "QUOTED": "null"}
        assert task["environment"] == {"variables": {**common, "NOTHING": ""}}
        assert task["runnables"][0]["environment"] == {"variables": {**common, "NOTHING": "", "MODE": "755"}}
        assert task["runnables"][0]["container"] == {
            "imageUri": "us-docker.pkg.dev/my-project/repo/image:1.10",
            "commands": ["--steps", "3", "--flag", "true"],
            "enableImageStreaming": True,
        }
        assert task["maxRunDuration"] == "5400s"
        assert "parallelism" not in spec["taskGroups"][0]

    def test_the_input_is_left_alone(self) -> None:
        written = job({"imageUri": "a", "commands": ["x"]}, labels={"a": "b"})
        before = copy.deepcopy(written)
        spec = canonical(written)
        spec["labels"]["c"] = "d"
        spec["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]["commands"].append("y")
        assert written == before


class TestGooglesObjects:
    def made(self) -> Any:
        container = batch_v1.Runnable.Container(image_uri="a", commands=["x"])
        runnables = [batch_v1.Runnable(container=container), batch_v1.Runnable(barrier=batch_v1.Runnable.Barrier())]
        environment = batch_v1.Environment(variables={"A": ""})
        task = batch_v1.TaskSpec(runnables=runnables, max_run_duration="60s", environment=environment)
        return batch_v1.Job(
            task_groups=[batch_v1.TaskGroup(task_spec=task, task_count=3)],
            logs_policy=batch_v1.LogsPolicy(destination=batch_v1.LogsPolicy.Destination.CLOUD_LOGGING),
        )

    expected: ClassVar[dict[str, Any]] = {
        "taskGroups": [
            {
                "taskSpec": {
                    "runnables": [{"container": {"imageUri": "a", "commands": ["x"]}}, {"barrier": {}}],
                    "maxRunDuration": "60s",
                    "environment": {"variables": {"A": ""}},
                },
                "taskCount": "3",
            }
        ],
        "logsPolicy": {"destination": "CLOUD_LOGGING"},
    }

    def test_a_job_becomes_what_is_set_in_it(self) -> None:
        assert canonical(self.made()) == self.expected

    def test_its_protobuf_does_too(self) -> None:
        assert canonical(batch_v1.Job.pb(self.made())) == self.expected

    def test_what_to_dict_prints_is_the_same_job(self) -> None:
        """It prints zeros for all that is unset; ``enable_image_streaming: False`` among them is nobody's word."""
        printed = batch_v1.Job.to_dict(self.made())
        assert printed["task_groups"][0]["task_spec"]["runnables"][0]["container"]["enable_image_streaming"] is False
        assert canonical(printed) == self.expected

    def test_objects_may_stand_inside_a_dict(self) -> None:
        written = {"task_groups": [self.made().task_groups[0]], "logs_policy": self.made().logs_policy}
        assert canonical(written) == self.expected
        task = {"max_run_duration": duration_pb2.Duration(seconds=90)}
        assert canonical({"taskGroups": [{"taskSpec": task}]}) == {
            "taskGroups": [{"taskSpec": {"maxRunDuration": "90s"}}]
        }


class TestWhatIsNearlyRight:
    def test_every_mistake_of_a_job_is_said_at_once(self) -> None:
        """Each with its path and what was meant."""
        found = complaints(json.loads((DATA / "near_misses.json").read_text()))
        task = "job.taskGroups[0].taskSpec"
        instance = "job.allocationPolicy.instances"
        meant = {
            f"{task}.runnables": "Put it into a list: [{...}].",
            f"{CONTAINER}.image": "Did you mean imageUri?",
            f"{CONTAINER}.commands": 'a line for a shell: ["/bin/sh", "-c", "..."]',
            f"{CONTAINER}.volumes": 'Write ["/mnt/disks/share:/share"].',
            f"{task}.runnables[0].environment.GREETING": 'Write {"variables": {"GREETING": ...}}.',
            f"{task}.volumes[0].gcs.remotePath": "placeholder ${BUCKET}",
            f"{task}.volumes[0].mountOptions": 'Write ["rw", "async"].',
            f"{task}.maxRetryCount": "placeholder ${RETRIES}",
            f"{task}.maxRunDuration": "placeholder <DURATION>",
            "job.taskGroups[0].taskCount": "taskCount and task_count are two spellings of one field",
            instance: "Put it into a list: [{...}].",
            f"{instance}[0].installGpuDrivers": "placeholder <INSTALL>",
            f"{instance}[0].policy.provisioningModel": "Did you mean SPOT?",
            f"{instance}[0].policy.accelerators": "Put it into a list: [{...}].",
            f"{instance}[0].policy.accelerators[0].count": "placeholder [COUNT]",
            f"{instance}[0].policy.bootDisk.sizeGb": "It counts in GB: write 100.",
            "job.allocationPolicy.location.allowedLocations": 'Write ["regions/us-central1"].',
            "job.priority": "is no whole number",
            "job.machineType": "It belongs to job.allocationPolicy.instances[].policy.machineType.",
        }
        assert found.keys() == meant.keys()
        for path, words in meant.items():
            assert words in found[path]

    @pytest.mark.parametrize(
        ("container", "field", "words"),
        [
            ({"commands": "ls"}, "commands", 'Write ["ls"].'),
            ({"commands": [["a"]]}, "commands[0]", 'Write "a".'),
            ({"commands": [None]}, "commands[0]", "is null where a text belongs"),
            ({"commands": [True]}, "commands[0]", 'Write "true" or "True", with quotes.'),
            ({"commands": [{"a": 1}]}, "commands[0]", "render_template_as_native_obj"),
            ({"commands": {"a"}}, "commands", "is a Python set where a list belongs"),
            ({"imageUri": ["a"]}, "imageUri", 'Write "a".'),
            ({"enableImageStreaming": 1}, "enableImageStreaming", "Write true."),
            ({"enableImageStreaming": "maybe"}, "enableImageStreaming", "is neither true nor false"),
            ({"imageUri": "us-docker.pkg.dev/${PROJECT}/r/i"}, "imageUri", "placeholder ${PROJECT}"),
            ({"imageUri": "$IMAGE"}, "imageUri", "placeholder $IMAGE"),
            ({"imageUri": "us-docker.pkg.dev/<PROJECT>/r/i"}, "imageUri", "placeholder <PROJECT>"),
        ],
    )
    def test_in_a_container(self, container: Any, field: str, words: str) -> None:
        assert words in complaints(job(container))[f"{CONTAINER}.{field}"]

    @pytest.mark.parametrize(
        ("task", "path", "words"),
        [
            ({"maxRetryCount": True}, "maxRetryCount", "is no whole number"),
            ({"maxRetryCount": 1.5}, "maxRetryCount", "is no whole number"),
            ({"maxRetryCount": float("nan")}, "maxRetryCount", "is no whole number"),
            ({"maxRetryCount": "1_0"}, "maxRetryCount", "Write 10."),
            ({"maxRetryCount": "010"}, "maxRetryCount", "is no whole number"),
            ({"maxRetryCount": "٣"}, "maxRetryCount", "is no whole number. Write a number such as 1."),
            ({"maxRetryCount": "1٣"}, "maxRetryCount", "is no whole number. Write a number such as 1."),
            ({"computeResource": {"memoryMib": "٤Gi"}}, "computeResource.memoryMib", "Write a number such as 1."),
            ({"computeResource": {"memoryMib": "16\N{KELVIN SIGN}i"}}, "computeResource.memoryMib", "such as 1."),
            ({"maxRunDuration": "٣s"}, "maxRunDuration", "is no duration"),
            ({"maxRetryCount": 2**31}, "maxRetryCount", "does not fit into 32 bits"),
            ({"computeResource": {"memoryMib": "16Gi"}}, "computeResource.memoryMib", "write 16384"),
            ({"computeResource": {"cpuMilli": 2**63}}, "computeResource.cpuMilli", "does not fit into 64 bits"),
            ({"maxRunDuration": "12:30"}, "maxRunDuration", 'Write seconds with an s, such as "3600s"'),
            ({"maxRunDuration": -1}, "maxRunDuration", "is negative"),
            ({"environment": ["A=1"]}, "environment", 'Write {"variables": {"NAME": "value"}}.'),
            ({"environment": {"variables": ["A=1"]}}, "environment.variables", 'Write {"NAME": "value"}.'),
            ({"environment": {"variables": {"A": None}}}, "environment.variables.A", "null where a text belongs"),
            ({"environment": {"variables": {1: "a"}}}, "environment.variables", 'Write "1", with quotes.'),
            ({"runnables": ["ls"]}, "runnables[0]", "where a mapping belongs"),
            ({"runnables": [{"container": "img"}]}, "runnables[0].container", 'Write {"imageUri": "img"}.'),
            ({"runnables": [{"script": "ls"}]}, "runnables[0].script", 'Write {"text": "..."}.'),
            ({"runnables": [{"imageUri": "a"}]}, "runnables[0].imageUri", "container.imageUri"),
            ({"lifecyclePolicies": [{"action": "RETRY"}]}, "lifecyclePolicies[0].action", "Did you mean RETRY_TASK?"),
            ({"lifecyclePolicies": [{"action": 9}]}, "lifecyclePolicies[0].action", "none of RETRY_TASK, FAIL_TASK"),
            ({"lifecyclePolicies": [{"action": True}]}, "lifecyclePolicies[0].action", "is none of"),
        ],
    )
    def test_in_a_task(self, task: Any, path: str, words: str) -> None:
        assert words in complaints(job(task=task))[f"job.taskGroups[0].taskSpec.{path}"]

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("job.json", "a file's name belongs into job_file"),
            ([{"taskGroups": []}], "Leave out the list's brackets"),
            (7, "is a number where a mapping belongs"),
            (None, "is null where a mapping belongs"),
        ],
    )
    def test_of_the_job_itself(self, value: Any, words: str) -> None:
        assert words in complaints(value)["job"]

    def test_a_whole_request_is_told_from_a_job(self) -> None:
        assert "Give only the job itself" in complaints({"parent": "p", "job": {}, "jobId": "j"})["job.job"]

    def test_placeholders_in_commands_scripts_and_environments_are_their_own_affair(self) -> None:
        runnables = [
            {"container": {"imageUri": "a", "commands": ["echo ${HOME} <b> $X [A]"], "options": "-e ${A}"}},
            {"script": {"text": "cat <<EOF\n${HOME} <FILE>\nEOF"}},
        ]
        environment = {"variables": {"A": "${B}", "C": "<D>"}, "secretVariables": {"E": "${F}"}}
        written = job(task={"runnables": runnables, "environment": environment})
        assert canonical(written) == written

    def test_paths_start_with_what_the_job_is_called(self) -> None:
        assert list(complaints({"x": 1}, path="job.yaml")) == ["job.yaml.x"]


class TestSecretsInFindings:
    def test_values_of_environments_and_passwords_are_never_shown(self) -> None:
        secret = "hunter2-and-more"
        written = job(
            {"password": [secret], "username": "u", "options": [f"--password={secret}"]},
            task={
                "environment": {"variables": {"A": [secret], "B": {"x": secret}}, "secretVariables": secret},
                "environments": {"A": [secret]},
            },
        )
        _, findings = conform(written)
        assert len(findings) == 6
        assert secret not in json.dumps([f.as_dict() for f in findings])
        assert secret not in " ".join(map(str, findings))


class TestTemplates:
    class Argument:
        """Stands for an XComArg: neither text nor number, and not iterable in earnest."""

    def test_what_is_rendered_later_is_left_as_it_is(self) -> None:
        later = self.Argument()
        written = job(
            {"imageUri": "{{ params.image }}", "commands": "{{ params.commands }}", "enableImageStreaming": "{{ x }}"},
            task={"maxRetryCount": "{{ 1 + 1 }}", "maxRunDuration": "{% if x %}1s{% endif %}"},
            labels={"a": "{{ ds }}"},
            priority=later,
        )
        assert conform(written, templated_ok=True) == (written, [])

    def test_all_the_rest_is_checked(self) -> None:
        written = job({"imageUri": "{{ x }}", "command": []}, task={"maxRetryCount": "many"}, priority=self.Argument())
        found = complaints(written, templated_ok=True)
        assert found.keys() == {f"{CONTAINER}.command", "job.taskGroups[0].taskSpec.maxRetryCount"}

    def test_a_job_that_is_one_template_is_left_alone(self) -> None:
        assert conform("{{ params.job }}", templated_ok=True) == ({}, [])

    def test_once_rendered_nothing_is_excused(self) -> None:
        written = job(task={"maxRetryCount": "{{ oops }}"}, priority=self.Argument())
        assert complaints(written).keys() == {"job.taskGroups[0].taskSpec.maxRetryCount", "job.priority"}


class TestOneFieldOfAnArgument:
    def test_it_has_the_form_of_the_field_and_the_arguments_name(self) -> None:
        assert conform_field("TaskSpec", "maxRunDuration", "1h", path="max_run_duration") == ("3600s", [])
        value, findings = conform_field("Container", "commands", "ls", path="commands")
        assert value is None
        assert [f.path for f in findings] == ["commands"]

    def test_a_duration_is_seconds(self) -> None:
        assert duration("1h30m") == 5400.0


def _values(field: Field, depth: int) -> st.SearchStrategy[Any]:
    """Valid values of a field, as Google's JSON has them."""
    if field.repeated:
        return st.lists(_values(field.item, depth), min_size=1, max_size=2)
    if field.mapped:
        return st.dictionaries(st.sampled_from(["a", "b"]), _values(field.item, depth), min_size=1)
    numbers = {"int32": st.integers(1, 2**31 - 1), "int64": st.integers(1, 2**63 - 1).map(str)}
    plain = {
        "string": st.sampled_from(["a", "b c", "ä", "0", "x: y"]),
        "bool": st.just(True),
        "enum": st.sampled_from(field.names[1:] or ("",)),
        "duration": st.integers(0, 10**9).map(lambda seconds: f"{seconds}s"),
    } | numbers
    return _messages(field.message, depth + 1) if field.kind == "message" else plain[field.kind]


def _messages(name: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Valid messages; of fields that exclude each other the first one only, and few fields deep inside."""
    shut = {other for group in table().oneofs.get(name, ()) for other in group[1:]} | {"instanceFlexibilityPolicy"}
    fields = [f for f in table().messages[name].values() if f.kind != "output" and f.name not in shut]
    optional = {f.name: st.deferred(lambda f=f: _values(f, depth)) for f in fields}  # type: ignore[misc]

    def some(names: list[str]) -> st.SearchStrategy[Any]:
        return st.fixed_dictionaries({name: optional[name] for name in names})

    most = 4 if depth < 3 else 2
    return st.lists(st.sampled_from(sorted(optional)), unique=True, max_size=most).flatmap(some)


def _snake(value: Any, fields: dict[str, Field]) -> Any:
    """The same message in snake_case."""

    def inner(field: Field, part: Any) -> Any:
        if field.kind != "message":
            return part
        below = dict(table().messages[field.message])
        if field.repeated:
            return [_snake(item, below) for item in part]
        if field.mapped:
            return {key: _snake(item, below) for key, item in part.items()}
        return _snake(part, below)

    return {
        "".join(f"_{c.lower()}" if c.isupper() else c for c in name): inner(fields[name], part)
        for name, part in value.items()
    }


class TestAgainstGooglesOwnReader:
    @settings(deadline=None, max_examples=60)
    @given(_messages("Job"))
    def test_canonical_json_means_the_same_to_google(self, written: dict[str, Any]) -> None:
        """Google's parser takes it, and prints the same again."""
        spec = canonical(written)
        assert spec == written
        there = json_format.ParseDict(spec, batch_v1.Job.pb(batch_v1.Job()))
        assert canonical(json_format.MessageToDict(there)) == spec
        assert canonical(batch_v1.Job.wrap(there)) == spec
        assert canonical(batch_v1.Job.to_dict(batch_v1.Job.wrap(there))) == spec

    @settings(deadline=None, max_examples=60)
    @given(_messages("Job"))
    def test_snake_case_is_the_same_job(self, written: dict[str, Any]) -> None:
        assert canonical(_snake(written, dict(table().messages["Job"]))) == written

    @settings(deadline=None, max_examples=100)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "taskGroups",
                            "task_spec",
                            "taskSpec",
                            "runnables",
                            "container",
                            "commands",
                            "environment",
                            "variables",
                            "labels",
                            "allocationPolicy",
                            "instances",
                            "policy",
                            "maxRunDuration",
                            "x",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=20,
        )
    )
    def test_whatever_is_given_is_answered_with_findings_and_a_spec_that_is_canonical(self, anything: Any) -> None:
        spec, findings = conform(anything)
        assert conform(spec) == (spec, [])
        assert all(str(f) for f in findings)
