"""Cloud Logging: what entries look like, how they are found, ordered and paged; 10,000 lines of one job."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions as gax

from airflow_batchstream.emulator.testing import Local

Make = Callable[..., dict[str, Any]]
TASKS = 'logName="projects/test-project/logs/batch_task_logs"'


class TestAnEntry:
    def test_carries_labels_resource_times_and_severity(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(
            script("echo out; echo err >&2", group={"task_count": 2}, job={"labels": {"team": "blue"}}), job_id=""
        )
        entries = logs.entries(f'{TASKS} AND labels.job_uid="{job.uid}" AND labels.task_id:"group0-1/"')
        by_text = {e.text_payload: e for e in entries}
        assert sorted(by_text) == ["err", "out"]
        out, err = by_text["out"], by_text["err"]
        assert (out.severity, err.severity) == (200, 500)
        assert out.log_name == "projects/test-project/logs/batch_task_logs"
        assert out.labels["job_uid"] == job.uid
        assert out.labels["task_id"] == f"task/{job.uid}-group0-1/0/0"
        assert out.labels["task_group_name"] == job.task_groups[0].name
        assert (out.labels["runnable_index"], out.labels["team"]) == ("0", "blue")
        assert out.resource.type == "batch.googleapis.com/Job"
        assert out.resource.labels["location"] == "europe-west4"
        assert out.insert_id != err.insert_id
        assert abs(out.timestamp.timestamp() - time.time()) < 60
        assert out.receive_timestamp >= out.timestamp

    def test_can_have_the_generic_resource(self, batch: Any, logs: Any, script: Make) -> None:
        policy = {"destination": "CLOUD_LOGGING", "cloud_logging_option": {"use_generic_task_monitored_resource": True}}
        job = batch.run(script("echo x", job={"logs_policy": policy}))
        (entry,) = logs.entries(f'{TASKS} AND labels.job_uid="{job.uid}"')
        assert entry.resource.type == "generic_task"

    def test_is_not_kept_without_a_logs_policy(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("echo x", job={"logs_policy": {}}))
        assert logs.entries(f'labels.job_uid="{job.uid}"') == []

    def test_is_one_line_however_it_ends(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script(r"printf 'a\r\n\nb\303\251\n\377\nlast'"))
        assert logs.lines(job) == ["a", "", "bé", "\ufffd", "last"]

    def test_is_cut_where_a_line_is_longer_than_cloud_logging_takes(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("head -c 450000 /dev/zero | tr '\\0' x; echo; echo end"))
        assert [len(line) for line in logs.lines(job)] == [200_000, 200_000, 50_000, 3]


class TestTheAgentsLog:
    def test_tells_start_and_end_of_each_runnable(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("exit 3", runnable={"display_name": "step one"}))
        said = logs.lines(job, "batch_agent_logs")
        assert any("report agent state" in line and "instance:" in line for line in said)
        assert any("Executing runnable 0 (step one)" in line for line in said)
        assert any("exited with code 3" in line for line in said)

    def test_never_shows_the_environment(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("true", environment={"variables": {"PASSWORD": "geheim-4711"}}))
        assert not any("geheim-4711" in line for line in logs.lines(job, "batch_agent_logs"))


class TestOrderAndPages:
    @pytest.fixture
    def job(self, batch: Any, script: Make) -> Any:
        return batch.run(script("seq 1 2500"))

    def test_every_line_comes_once_and_in_order_over_pages(self, logs: Any, job: Any) -> None:
        query = f'{TASKS} AND labels.job_uid="{job.uid}"'
        expected = [str(i) for i in range(1, 2501)]
        assert [e.text_payload for e in logs.entries(query, page_size=1000)] == expected
        backwards = logs.entries(query, page_size=1000, order_by="timestamp desc")
        assert [e.text_payload for e in backwards] == expected[::-1]
        keys = [(e.timestamp, e.insert_id) for e in logs.entries(query, page_size=1000)]
        assert len(set(keys)) == 2500
        assert keys == sorted(keys)

    def test_a_page_holds_fifty_by_default_and_a_thousand_at_most(self, logs: Any, job: Any) -> None:
        query = f'{TASKS} AND labels.job_uid="{job.uid}"'
        assert len(logs.page(query).entries) == 50
        assert len(logs.page(query, page_size=5000).entries) == 1000

    def test_the_last_page_has_no_token(self, logs: Any, job: Any) -> None:
        query = f'{TASKS} AND labels.job_uid="{job.uid}" AND textPayload=("1" OR "2500")'
        page = logs.page(query, page_size=10)
        assert ([e.text_payload for e in page.entries], page.next_page_token) == (["1", "2500"], "")

    def test_a_token_belongs_to_its_query(self, logs: Any, job: Any) -> None:
        token = logs.page(f'{TASKS} AND labels.job_uid="{job.uid}"', page_size=10).next_page_token
        with pytest.raises(gax.InvalidArgument, match="page_token"):
            logs.page(f'{TASKS} AND labels.job_uid="other"', page_token=token)
        with pytest.raises(gax.InvalidArgument, match="page_token"):
            logs.page(TASKS, page_token="nonsense")

    def test_many_jobs_share_one_query_in_the_order_of_time(self, batch: Any, logs: Any, script: Make) -> None:
        jobs = [batch.run(script(f"echo {i}")) for i in range(4)]
        wanted = " OR ".join(f'"{j.uid}"' for j in jobs[1:])
        entries = logs.entries(f"{TASKS} AND labels.job_uid=({wanted})", page_size=2)
        assert [e.text_payload for e in entries] == ["1", "2", "3"]

    def test_a_time_floor_holds_for_both_times(self, logs: Any, job: Any) -> None:
        query = f'{TASKS} AND labels.job_uid="{job.uid}"'
        first = logs.page(query).entries[9]
        floor = first.timestamp.rfc3339()
        assert logs.page(f'{query} AND timestamp>="{floor}"').entries[0].text_payload == "10"
        assert logs.page(f'{query} AND receiveTimestamp>"{floor}"').entries[0].text_payload == "11"

    def test_another_project_sees_nothing(self, logs: Any, job: Any) -> None:
        assert logs.entries(f'labels.job_uid="{job.uid}"', resource_names=["projects/other"]) == []


class TestWrongQueries:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"filter": "severity=="},
            {"order_by": "receiveTimestamp asc"},
            {"resource_names": []},
            {"resource_names": ["folders/1"]},
            {"page_size": -1},
        ],
    )
    def test_are_invalid_arguments(self, logs: Any, wrong: dict[str, Any]) -> None:
        request = {"resource_names": ["projects/test-project"], **wrong}
        with pytest.raises(gax.InvalidArgument):
            logs.client.list_log_entries(request=request, retry=None)

    def test_what_is_not_there_is_unimplemented(self, logs: Any) -> None:
        with pytest.raises(gax.MethodNotImplemented, match="DeleteLog"):
            logs.client.delete_log(log_name="projects/test-project/logs/x")


class TestOverRest:
    def post(self, emulator: Local, body: Any) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"http://{emulator.address}/v2/entries:list",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def test_entries_are_listed_as_json(self, emulator: Local, batch: Any, script: Make) -> None:
        job = batch.run(script("echo hello"))
        status, answer = self.post(
            emulator, {"resourceNames": ["projects/test-project"], "filter": f'{TASKS} labels.job_uid="{job.uid}"'}
        )
        assert status == 200
        (entry,) = answer["entries"]
        assert (entry["textPayload"], entry["severity"]) == ("hello", "INFO")
        assert entry["timestamp"].endswith("Z")

    def test_errors_have_google_s_form(self, emulator: Local) -> None:
        status, answer = self.post(emulator, {"resourceNames": ["projects/p"], "filter": "("})
        assert status == 400
        assert (answer["error"]["code"], answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "expected" in answer["error"]["message"]

    def test_logs_are_listed(self, emulator: Local) -> None:
        with urllib.request.urlopen(f"http://{emulator.address}/v2/projects/test-project/logs", timeout=10) as answer:
            assert "projects/test-project/logs/batch_task_logs" in json.load(answer)["logNames"]


class TestALoudJob:
    def test_ten_thousand_lines_are_kept_in_order_within_seconds(self, batch: Any, logs: Any, script: Make) -> None:
        started = time.monotonic()
        job = batch.run(script("seq 1 10000"))
        ran = time.monotonic() - started
        lines = [e.text_payload for e in logs.entries(f'{TASKS} AND labels.job_uid="{job.uid}"', page_size=1000)]
        assert lines == [str(i) for i in range(1, 10_001)]
        assert ran < 10
