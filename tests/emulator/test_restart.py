"""State survives: a restart finds jobs, tasks, log entries and remembered requests; what ran has ended as 50003."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.testing import running

Make = Callable[..., dict[str, Any]]
PARENT = "projects/test-project/locations/europe-west4"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
class TestARestart:
    def test_ends_what_ran_as_50003_and_retries_what_may_be(
        self, connect: Callable[..., Any], script: Make, logs_of: Callable[..., Any], tmp_path: Path, how: int
    ) -> None:
        text = "echo try $BATCH_TASK_RETRY_ATTEMPT; test $BATCH_TASK_RETRY_ATTEMPT = 1 || sleep 60"
        with running(tmp_path / "state") as local:
            client = connect(local)
            once = client.create_job(parent=PARENT, job=script(text, group={"task_count": 2}), job_id="once")
            again = client.create_job(parent=PARENT, job=script(text, max_retry_count=1), job_id="again")
            for job in (once, again):
                client.until(job.name, {"RUNNING"})
            wait_for(lambda: len(logs_of(local).entries('textPayload="try 0"')) == 3)
            local.stop(how)
        with running(tmp_path / "state") as local:
            client = connect(local)
            failed = client.until(once.name, {"FAILED"})
            assert (
                "due to VM is rebooted during task execution with exit code 50003."
                in failed.status.status_events[-1].description
            )
            assert failed.create_time == once.create_time
            done = client.until(again.name, {"SUCCEEDED"})
            codes = [
                e.task_execution.exit_code
                for t in client.tasks(done)
                for e in t.status.status_events
                if e.task_execution
            ]
            assert codes == [50003]
            assert logs_of(local).lines(done) == ["try 0", "try 1"]

    def test_leaves_no_process_of_a_job_behind(
        self, connect: Callable[..., Any], script: Make, tmp_path: Path, how: int
    ) -> None:
        pid = tmp_path / "pid"
        with running(tmp_path / "state") as local:
            client = connect(local)
            client.create_job(parent=PARENT, job=script(f"trap '' TERM; echo $$ > {pid}; sleep 600; sleep 600"))
            wait_for(lambda: pid.exists() and pid.read_text().strip())
            started = time.monotonic()
            local.stop(how)
            assert time.monotonic() - started < 10
        wait_for(lambda: not alive(int(pid.read_text())))


class TestWhatIsRemembered:
    def test_requests_operations_and_ended_jobs(
        self, connect: Callable[..., Any], script: Make, tmp_path: Path
    ) -> None:
        once = str(uuid.uuid4())
        request = {"parent": PARENT, "job": script("true"), "job_id": "j", "request_id": once}
        with running(tmp_path / "state") as local:
            client = connect(local)
            job = client.create_job(request=request)
            client.until(job.name, {"SUCCEEDED"})
            other = client.create_job(parent=PARENT, job=script("sleep 60"), job_id="k")
            operation = client.cancel_job(name=other.name)
            client.result(operation)
        with running(tmp_path / "state") as local:
            client = connect(local)
            assert client.create_job(request=request).uid == job.uid
            assert client.get_job(name=job.name).status.state.name == "SUCCEEDED"
            assert client.get_job(name=other.name).status.state.name == "CANCELLED"
            assert client.get_operation(request={"name": operation.operation.name}).done

    def test_new_lines_come_after_the_old(
        self, connect: Callable[..., Any], script: Make, logs_of: Callable[..., Any], tmp_path: Path
    ) -> None:
        with running(tmp_path / "state") as local:
            connect(local).run(script("echo one"))
        with running(tmp_path / "state") as local:
            connect(local).run(script("echo two"))
            entries = logs_of(local).entries('log_id("batch_task_logs")')
            assert [e.text_payload for e in entries] == ["one", "two"]
            assert entries[0].insert_id < entries[1].insert_id


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.03)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text()
