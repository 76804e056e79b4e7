"""The REST side as other clients use it: curl, gcloud, googleapiclient."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from airflow_batchstream.emulator.testing import Local

PARENT = "projects/test-project/locations/us-central1"


@pytest.fixture
def call(emulator: Local) -> Callable[..., tuple[int, Any]]:
    def make(verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{emulator.address}{path}", data, method=verb)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return make


JOB = {
    "taskGroups": [
        {"taskCount": "1", "taskSpec": {"runnables": [{"script": {"text": "true"}}], "maxRunDuration": "60s"}}
    ]
}


class TestAJobAsJson:
    def test_is_taken_as_google_s_examples_write_it(self, call: Callable[..., Any]) -> None:
        status, job = call("POST", f"/v1/{PARENT}/jobs?jobId=j-{uuid.uuid4().hex}&prettyPrint=false", JOB)
        assert status == 200
        assert job["taskGroups"][0]["taskCount"] == "1"
        assert job["taskGroups"][0]["taskSpec"]["maxRunDuration"] == "60s"
        assert job["status"]["state"] == "QUEUED"

    def test_enums_come_as_numbers_where_asked_for(self, call: Callable[..., Any]) -> None:
        _, job = call("POST", f"/v1/{PARENT}/jobs?%24alt=json%3Benum-encoding%3Dint", JOB)
        assert job["status"]["state"] == 1


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (
                {"taskGroups": [{"taskCunt": 1}]},
                "Unknown name \"taskCunt\" at 'job.task_groups[0]': Cannot find field.",
            ),
            ({"taskGroups": [{"taskCount": "many"}]}, "Invalid value at 'job.task_groups"),
            (b"{not json", "Invalid JSON payload received."),
        ],
    )
    def test_of_the_payload_are_google_s(self, call: Callable[..., Any], body: Any, message: str) -> None:
        status, answer = call("POST", f"/v1/{PARENT}/jobs", body)
        assert (status, answer["error"]["code"], answer["error"]["status"]) == (400, 400, "INVALID_ARGUMENT")
        assert message in answer["error"]["message"]

    def test_a_path_that_is_none_is_404(self, call: Callable[..., Any]) -> None:
        assert call("GET", "/v1/nothing")[0] == 404
        assert call("PATCH", f"/v1/{PARENT}/jobs/x", {})[0] == 404

    def test_the_two_conflicts_can_be_told_apart(self, call: Callable[..., Any], emulator: Local) -> None:
        name = f"j-{uuid.uuid4().hex}"
        call("POST", f"/v1/{PARENT}/jobs?jobId={name}", JOB)
        status, answer = call("POST", f"/v1/{PARENT}/jobs?jobId={name}", JOB)
        assert (status, answer["error"]["status"]) == (409, "ALREADY_EXISTS")
        emulator.inject({"method": "GetJob", "job": name, "status": "ABORTED"})
        try:
            status, answer = call("GET", f"/v1/{PARENT}/jobs/{name}")
        finally:
            emulator.heal()
        assert (status, answer["error"]["status"]) == (409, "ABORTED")


class TestGoogleapiclient:
    def test_works_unchanged(self, emulator: Local) -> None:
        from google.auth.credentials import AnonymousCredentials
        from googleapiclient.discovery import build

        service = build(
            "batch", "v1", static_discovery=True, credentials=AnonymousCredentials(),
            client_options={"api_endpoint": f"http://{emulator.address}"},
        )  # fmt: skip
        jobs = service.projects().locations().jobs()
        made = jobs.create(parent=PARENT, body=JOB, jobId=f"j-{uuid.uuid4().hex}").execute()
        assert jobs.get(name=made["name"]).execute()["uid"] == made["uid"]
        assert made["name"] in [j["name"] for j in jobs.list(parent=PARENT, pageSize=1000).execute()["jobs"]]
        service.close()
