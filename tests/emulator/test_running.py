"""Jobs that run: what a task's runnables get, in which order, how they end. Images are in test_containers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., dict[str, Any]]
PARENT = "projects/test-project/locations/europe-west4"


def runnables(*parts: Any, **task: Any) -> dict[str, Any]:
    """A job of several runnables; a text is a script."""
    spec = [p if isinstance(p, dict) else {"script": {"text": p}} for p in parts]
    return {
        "task_groups": [{"task_spec": {"runnables": spec, **task}}],
        "logs_policy": {"destination": "CLOUD_LOGGING"},
    }


def sh(text: str, **fields: Any) -> dict[str, Any]:
    return {"script": {"text": text}, **fields}


def exit_codes(batch: Any, job: Any) -> list[int]:
    """Of the attempts that failed."""
    return [e.task_execution.exit_code for t in batch.tasks(job) for e in t.status.status_events if e.task_execution]


class TestAScript:
    def test_is_run_by_sh_or_by_what_its_first_line_names(self, batch: Any, logs: Any) -> None:
        job = batch.run(runnables("echo $0 | grep -c script-0", "#!/usr/bin/env python3\nprint('python', 1 + 1)"))
        assert logs.lines(job) == ["1", "python 2"]

    def test_can_be_a_file_of_this_machine(self, batch: Any, logs: Any, tmp_path: Path) -> None:
        file = tmp_path / "work.sh"
        file.write_text("echo from a file")
        job = batch.run(runnables({"script": {"path": str(file)}}))
        assert logs.lines(job) == ["from a file"]

    def test_gets_nothing_of_the_server_s_environment_but_the_harmless(self, batch: Any, logs: Any) -> None:
        job = batch.run(runnables("env | cut -d= -f1 | sort | tr '\\n' ' '"))
        names = set(logs.lines(job)[0].split())
        assert {"BATCH_TASK_INDEX", "PATH"} <= names
        assert not any(n.startswith(("PYTEST", "AIRFLOW", "GOOGLE")) for n in names)

    def test_fails_the_job_with_its_exit_code(self, batch: Any, script: Make) -> None:
        job = batch.run(script("exit 41"))
        assert job.status.state.name == "FAILED"
        assert exit_codes(batch, job) == [41]
        assert "with exit code 41." in job.status.status_events[-1].description

    def test_that_is_not_there_is_127(self, batch: Any, script: Make) -> None:
        assert exit_codes(batch, batch.run(script("/no/such/program"))) == [127]


class TestEnvironment:
    def test_batch_s_own_variables(self, batch: Any, logs: Any, script: Make) -> None:
        text = "echo $BATCH_TASK_INDEX/$BATCH_TASK_COUNT try $BATCH_TASK_RETRY_ATTEMPT of $BATCH_JOB_UID"
        job = batch.run(script(text, group={"task_count": 2}))
        assert sorted(logs.lines(job)) == [f"0/2 try 0 of {job.uid}", f"1/2 try 0 of {job.uid}"]

    def test_task_then_task_environment_then_runnable(self, batch: Any, logs: Any) -> None:
        job = runnables(
            sh("echo $A $B $C $D", environment={"variables": {"C": "runnable"}}),
            environment={"variables": {"A": "task", "B": "task", "C": "task"}},
            environments={"D": "old name"},
        )
        job["task_groups"][0]["task_environments"] = [
            {"variables": {"B": "one", "C": "one"}},
            {"variables": {"B": "two"}},
        ]
        assert sorted(logs.lines(batch.run(job))) == ["task one runnable old name", "task two runnable old name"]

    def test_a_hosts_file_where_it_is_asked_for(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("cat $BATCH_HOSTS_FILE", group={"require_hosts_file": True}))
        assert logs.lines(job) == ["127.0.0.1"]


class TestRunnablesInOrder:
    def test_the_first_failure_ends_the_task_but_for_always_run(self, batch: Any, logs: Any) -> None:
        job = batch.run(runnables("echo a", "echo b; exit 7", "echo c", sh("echo d; exit 8", always_run=True)))
        assert logs.lines(job) == ["a", "b", "d"]
        assert exit_codes(batch, job) == [7]

    def test_an_ignored_exit_status_is_none(self, batch: Any, logs: Any) -> None:
        job = batch.run(runnables(sh("exit 7", ignore_exit_status=True), "echo on"))
        assert (job.status.state.name, logs.lines(job)) == ("SUCCEEDED", ["on"])

    def test_a_background_runnable_runs_beside_the_others_and_is_ended(self, batch: Any, logs: Any) -> None:
        started = time.monotonic()
        waits = "for i in $(seq 100); do test -e flag && break; sleep 0.05; done; test -e flag && echo seen"
        job = batch.run(runnables(sh("touch flag; sleep 60", background=True), waits))
        assert (job.status.state.name, logs.lines(job)) == ("SUCCEEDED", ["seen"])
        assert time.monotonic() - started < 20


class TestTime:
    def test_a_task_over_its_time_ends_as_50005(self, batch: Any, script: Make) -> None:
        job = batch.run(script("sleep 60", max_run_duration="1s"))
        assert exit_codes(batch, job) == [50005]
        assert (
            "due to task runs over the maximum runtime with exit code 50005."
            in job.status.status_events[-1].description
        )

    def test_so_does_a_runnable_over_its_own(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("echo on; sleep 60", runnable={"timeout": "1s"}))
        assert exit_codes(batch, job) == [50005]
        assert any("50005" in line for line in logs.lines(job, "batch_agent_logs"))

    def test_no_runnable_starts_after_the_task_s_time(self, batch: Any, logs: Any) -> None:
        job = batch.run(runnables("sleep 60", sh("echo too late", always_run=True), max_run_duration="1s"))
        assert (logs.lines(job), exit_codes(batch, job)) == ([], [50005])

    def test_a_command_is_asked_before_it_is_killed(self, batch: Any, logs: Any, script: Make) -> None:
        text = "trap 'echo asked; exit 9' TERM; while :; do sleep 0.05; done"
        job = batch.run(script(text, max_run_duration="1s"))
        assert logs.lines(job) == ["asked"]
        assert exit_codes(batch, job) == [50005]


class TestRetries:
    def test_go_on_until_one_succeeds(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(
            script("echo try $BATCH_TASK_RETRY_ATTEMPT; test $BATCH_TASK_RETRY_ATTEMPT = 2", max_retry_count=3)
        )
        assert job.status.state.name == "SUCCEEDED"
        assert logs.lines(job) == ["try 0", "try 1", "try 2"]
        assert exit_codes(batch, job) == [1, 1]

    def test_each_attempt_has_its_own_task_id(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("echo x; exit 1", max_retry_count=1))
        entries = logs.entries(f'labels.job_uid="{job.uid}" AND textPayload="x"')
        assert [e.labels["task_id"] for e in entries] == [f"task/{job.uid}-group0-0/{n}/0" for n in (0, 1)]

    @pytest.mark.parametrize(("action", "attempts"), [("RETRY_TASK", 1), ("FAIL_TASK", 3)])
    def test_a_lifecycle_policy_decides(self, batch: Any, script: Make, action: str, attempts: int) -> None:
        policy = {"action": action, "action_condition": {"exit_codes": [50001, 99]}}
        job = batch.run(script("exit 1", max_retry_count=2, lifecycle_policies=[policy]))
        assert exit_codes(batch, job) == [1] * attempts


class TestParallelism:
    def test_as_many_tasks_at_once_as_the_job_allows(self, batch: Any, logs: Any, script: Make, tmp_path: Path) -> None:
        text = f"touch {tmp_path}/$BATCH_TASK_INDEX; ls {tmp_path} | wc -l; sleep 0.3; rm {tmp_path}/$BATCH_TASK_INDEX"
        job = batch.run(script(text, group={"task_count": 5, "parallelism": 2}))
        assert {int(line) for line in logs.lines(job)} <= {1, 2}
        assert "2" in logs.lines(job)

    def test_fifty_tasks(self, batch: Any, logs: Any, script: Make) -> None:
        job = batch.run(script("echo $BATCH_TASK_INDEX", group={"task_count": 50}))
        assert job.status.task_groups["group0"].counts == {"SUCCEEDED": 50}
        assert sorted(map(int, logs.lines(job))) == list(range(50))

    def test_tasks_of_one_node_share_their_vm(self, batch: Any, script: Make) -> None:
        job = batch.run(script("true", group={"task_count": 4, "task_count_per_node": 2}))
        vms = [t.status.status_events[0].description.split(" on ")[1] for t in batch.tasks(job)]
        assert vms[0] == vms[1] != vms[2] == vms[3]
        assert vms[0].startswith("zones/europe-west4-a/instances/")


class TestTheEndOfARunningJob:
    def test_takes_every_process_with_it(self, batch: Any, script: Make, tmp_path: Path) -> None:
        """Also one that left its group and session, and ignores TERM."""
        pid = tmp_path / "pid"
        job = batch.create_job(
            parent=PARENT, job=script(f"setsid sh -c \"trap '' TERM; echo \\$\\$ > {pid}; sleep 600\" & sleep 600")
        )
        batch.until(job.name, {"RUNNING"})
        deadline = time.monotonic() + 10
        while not (pid.exists() and pid.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        batch.result(batch.cancel_job(name=job.name))
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    def test_leaves_waiting_tasks_unexecuted(self, batch: Any, script: Make) -> None:
        job = batch.create_job(parent=PARENT, job=script("sleep 60", group={"task_count": 3, "parallelism": 1}))
        batch.until(job.name, {"RUNNING"})
        batch.result(batch.cancel_job(name=job.name))
        assert [t.status.state.name for t in batch.tasks(job)] == ["FAILED", "UNEXECUTED", "UNEXECUTED"]

    def test_a_queued_job_ends_without_a_task(self, batch: Any, emulator: Any, script: Make) -> None:
        emulator.inject({"stay": "QUEUED", "job": "queued-*", "times": 1})
        try:
            job = batch.create_job(parent=PARENT, job=script("true"), job_id=f"queued-{time.time_ns()}")
            assert batch.tasks(job) == []
            batch.result(batch.cancel_job(name=job.name))
            assert batch.get_job(name=job.name).status.state.name == "CANCELLED"
        finally:
            emulator.heal()
