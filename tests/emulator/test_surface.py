"""The calls and routes that are read off Google's installed clients, held against Google's discovery documents."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

import pytest

from airflow_batchstream.emulator.api import google_words
from airflow_batchstream.emulator.surface import Route, surface


def discovered(document: str) -> set[tuple[str, str]]:
    """``(verb, path)`` of all methods of a discovery document, with paths in one form."""
    text = resources.files("googleapiclient.discovery_cache.documents").joinpath(document).read_text()

    def walk(node: dict[str, Any]) -> Any:
        for method in node.get("methods", {}).values():
            yield method["httpMethod"], template(f"/{method['path']}", method["parameters"])
        for inner in node.get("resources", {}).values():
            yield from walk(inner)

    return set(walk(json.loads(text)))


def template(path: str, parameters: dict[str, Any]) -> str:
    """``/v1/{+name}:cancel`` -> ``/v1/projects/*/locations/*/jobs/*:cancel``."""

    def fill(found: re.Match[str]) -> str:
        pattern = str(parameters[found[1]].get("pattern", "^[^/]+$"))
        return pattern.strip("^$").replace("[^/]+", "*")

    return re.sub(r"\{\+?(\w+)\}", fill, path)


def served(route: Route) -> tuple[str, str]:
    return route.verb, re.sub(r"\{\w+=?([^}]*)\}", lambda m: m[1] or "*", route.uri)


class TestBatch:
    def test_every_rest_method_that_google_s_documents_list_has_a_route(self) -> None:
        ours = {served(r) for r in surface()[1]}
        of_the_agent = {("POST", "/v1/projects/*/locations/*/state:report")}  # no client carries it
        assert discovered("batch.v1.json") - ours - of_the_agent == set()

    def test_has_every_call_of_the_service(self) -> None:
        names = {rpc.name for rpc in surface()[0] if rpc.service == "google.cloud.batch.v1.BatchService"}
        assert names >= {"CreateJob", "GetJob", "DeleteJob", "CancelJob", "ListJobs", "GetTask", "ListTasks"}

    def test_its_requests_and_answers_are_google_s_types(self) -> None:
        rpc = next(r for r in surface()[0] if r.name == "CreateJob")
        assert rpc.request.DESCRIPTOR.full_name == "google.cloud.batch.v1.CreateJobRequest"
        assert rpc.response.DESCRIPTOR.full_name == "google.cloud.batch.v1.Job"
        assert rpc.method == "create_job"


class TestLogging:
    def test_our_hand_written_rules_are_google_s(self) -> None:
        ours = {served(r) for r in surface()[1] if r.rpc.service.startswith("google.logging")}
        assert ours
        assert ours <= discovered("logging.v2.json")


class TestGooglesWords:
    @pytest.mark.parametrize(
        ("said", "words"),
        [
            (
                'Message type "google.cloud.batch.v1.TaskGroup" has no field named "x" at'
                ' "CreateJobRequest.job.taskGroups[0]".\n Available Fields',
                "Invalid JSON payload received. Unknown name \"x\" at 'job.task_groups[0]': Cannot find field.",
            ),
            (
                "Failed to parse job field: Failed to parse taskGroups field: Couldn't parse integer: abc.",
                "Invalid value at 'job.task_groups': Couldn't parse integer: abc.",
            ),
        ],
    )
    def test_replace_protobuf_s(self, said: str, words: str) -> None:
        assert google_words(said) == words
