"""The kill matrix: all that can end a task before its job ends, and what became of the job.

One Airflow of its own, all cases at once; its triggerer is lost last, since that hits every deferred task. The times
and states are the local Batch's own. The run makes the table of docs/reliability.md: with BATCHSTREAM_WRITE_DOCS=1 it
is written there, otherwise the page must say the same, seconds aside.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow_api import AirflowApi, LogLine, Run, Task, until
from kill_matrix import BatchAccount, Table, created, reached, without_seconds
from live_airflow import LiveAirflow

from airflow_batchstream.emulator.testing import Local

AIRFLOW = ".".join(version("apache-airflow").split(".")[:2])
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
DAGS = Path(__file__).parent / "dags"
IMAGE = "us-docker.pkg.dev/my-project/examples/hello:1.0"
MODES = ("sync", "deferrable")
WITHIN = 30.0
"""Seconds between the user's act, or a deadline, and CANCELLED."""
SETTINGS = {
    # Enough for all sync cases at once. With twice as many, requests that wait for SQLite's lock can take every thread
    # of the API server, the one included that the holder of the lock needs to commit.
    "AIRFLOW__CORE__PARALLELISM": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}

EVENTS = {
    "mark_failed": "Marked failed",
    "mark_success": "Marked success",
    "clear": "Cleared",
    "run_failed": "Dag run marked failed",
    "dagrun_timeout": "`dagrun_timeout` of the Dag",
    "execution_timeout": "`execution_timeout`",
    "timeout_seconds": "`timeout_seconds`",
    "queued_timeout_seconds": "`queued_timeout_seconds`",
    "bystander": "Another index of the mapped task marked or cleared",
    "pause": "Dag paused",
    "task_told": "Worker told to stop (SIGTERM)",
    "task_killed": "Task's process killed (SIGKILL, out of memory)",
    "worker_killed": "Worker lost with all its processes",
    "triggerer_told": "Triggerer told to stop (SIGTERM), another started",
    "triggerer_killed": "Triggerer lost (SIGKILL), another started",
    "clear_without_triggerer": "Cleared while no triggerer runs",
}
BOTH = ("dagrun_timeout", "run_failed", "mark_failed", "clear")
"""Events that have a mapped task too."""
KILLS = [
    pytest.param(event, mode, mapped, id=f"{event}-{mode}{'-mapped' if mapped else ''}")
    for event in ("mark_failed", "mark_success", "clear", "run_failed", "dagrun_timeout")
    for mode in MODES
    for mapped in (False, True)
    if not mapped or event in BOTH
]
LAST_STATE = {
    "mark_failed": "failed",
    "mark_success": "success",
    "run_failed": "failed",
    "dagrun_timeout": "skipped",
}
Act = Callable[[Task], object]
DEADLINES = {"execution_timeout": 75.0, "timeout_seconds": 25.0, "queued_timeout_seconds": 15.0}
UNATTENDED = ("dagrun_timeout", *DEADLINES)
"""Events that come by themselves."""
LOSSES = ("task_told", "task_killed", "worker_killed")


def container(log: list[LogLine]) -> list[str]:
    """What the job's container printed."""
    return [line.text for line in log if line.logger == "batch.group0.0"]


def words(log: list[LogLine]) -> str:
    """What the operator and Airflow say, errors included."""
    return "\n".join(str(dict(line.raw)) for line in log if not line.logger.startswith("batch.group"))


def ticks(lines: list[str]) -> list[int]:
    """The numbers that were counted; whatever else a job prints is in ``told after``."""
    assert all(text.startswith(("tick ", "told after ")) for text in lines), lines
    return [int(text.removeprefix("tick ")) for text in lines if text.startswith("tick ")]


def each_once(lines: list[str]) -> None:
    """From the first on, in order, none missing and none twice."""
    assert ticks(lines) == list(range(len(ticks(lines))))


def whole(lines: list[str]) -> None:
    """The same, to the last line of a job that was told to end."""
    each_once(lines)
    assert lines[-1] == f"told after {len(lines) - 1}", lines[-3:]


@dataclass
class Stage:
    """The one Airflow and its Batch, and what was done when."""

    airflow: LiveAirflow
    api: AirflowApi
    batch: BatchAccount
    stops: Path
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    acted: dict[tuple[str, str, bool], float] = field(default_factory=dict)
    jobs: dict[tuple[str, str, bool], str] = field(default_factory=dict)
    wrong: dict[tuple[str, str, bool], Exception] = field(default_factory=dict)

    def task(self, event: str, mode: str, map_index: int = -1) -> Task:
        """The task of a case."""
        return self.runs[event, mode].task("mapped" if map_index >= 0 else "job", map_index)

    def victim(self, event: str, mode: str, mapped: bool) -> Task:
        """The task that the event hits: of two mapped ones the second."""
        return self.task(event, mode, -1 if not mapped else 0 if event in ("run_failed", "dagrun_timeout") else 1)

    def jobs_of(self, task: Task) -> list[dict[str, Any]]:
        """All jobs that were ever made for it."""
        return self.batch.jobs(task.run, task.task_id, task.map_index)

    def start(self, mode: str, events: list[str]) -> None:
        """Trigger their Dags."""
        for event in events:
            self.runs[event, mode] = self.api.trigger(f"kill_{event}_{mode}")

    def meet(self, event: str, mode: str, mapped: bool, act: Act, task: Task | None = None) -> None:
        """Act on a task whose job runs; what goes wrong is kept for the test of this case, so that the others go on."""
        task, case = task or self.victim(event, mode, mapped), (event, mode, mapped)
        try:
            self.jobs[case] = self.begun(task, mode)
            self.acted[case] = time.time()
            act(task)
        except Exception as error:
            self.wrong[case] = error

    def job(self, event: str, mode: str, mapped: bool) -> str:
        """The name of the job that the event met.

        :raises Exception: what went wrong.
        """
        if (event, mode, mapped) in self.wrong:
            raise self.wrong[event, mode, mapped]
        return self.jobs[event, mode, mapped]

    def begun(self, task: Task, mode: str) -> str:
        """The job's name, once it runs, its first line is shown, and a deferrable task is deferred."""
        waiting = "deferred" if mode == "deferrable" else "running"
        what = f"{task.run.dag_id}.{task.task_id}[{task.map_index}]"
        until(lambda: task.state() == waiting, 150, f"{what} to be {waiting}")
        until(lambda: container(task.log()), 120, f"the first line of {what}")
        (job,) = self.jobs_of(task)
        assert job["status"]["state"] == "RUNNING"
        print(f"{time.strftime('%X')} {what}")
        return str(job["name"])

    def cancelled_at(self, name: str, within: float = 60.0) -> float:
        """When a job was CANCELLED."""
        return float(until(lambda: reached(self.batch.job(name), "CANCELLED"), within, f"{name} to be CANCELLED"))

    def end(self, task: Task) -> None:
        """Tell the job of a task to end with success."""
        (self.stops / f"{task.run.dag_id}.{task.task_id}.{task.map_index}").touch()


@pytest.fixture(scope="module")
def table() -> Table:
    """What the tests saw."""
    return Table(AIRFLOW)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, local_batch: Local) -> Iterator[Stage]:
    """An Airflow with a triggerer."""
    stops = tmp_path_factory.mktemp("stops")
    env = {"BATCH_EMULATOR_HOST": local_batch.address, "BATCHSTREAM_IMAGE": IMAGE, "BATCHSTREAM_STOP": str(stops)}
    airflow = LiveAirflow(tmp_path_factory.mktemp("kills") / "home", DAGS, env | SETTINGS, triggerer=True)
    airflow.start(["kill_dagrun_timeout_sync", "kill_triggerer_deferrable"])
    local_batch.inject({"job": "kill-queued-timeout*", "stay": "QUEUED", "seconds": 600})
    try:
        yield Stage(airflow, AirflowApi(airflow.url), BatchAccount(local_batch.address), stops)
    finally:
        airflow.stop()


@pytest.fixture(scope="module")
def acts(stage: Stage) -> Stage:
    """All that a user or a machine does, done one after the other; the tests look at what came of it.

    The sync tasks, which keep their worker slots, then the deferrable ones, which give them back.
    """
    stage.start("sync", [*LOSSES, "pause", "mark_failed", "clear", "mark_success", *UNATTENDED, "run_failed"])
    for event in LOSSES:
        stage.meet(event, "sync", False, lambda task, event=event: _lose(event, psutil.Process(task.info()["pid"])))
    _mark_and_clear(stage, "sync")
    stage.start("deferrable", ["pause", "mark_failed", "clear", "mark_success", *UNATTENDED, "run_failed", "triggerer"])
    _mark_and_clear(stage, "deferrable")
    return stage


def _mark_and_clear(stage: Stage, mode: str) -> None:
    for event in ("mark_failed", "clear"):
        stage.meet(f"beside {event}", mode, True, lambda _: None, stage.task(event, mode, 0))
    for event, act in ACTS.items():
        if event in BOTH:  # a run is marked once, when both of its jobs run
            stage.meet(event, mode, True, act if event != "run_failed" else lambda _: None)
        stage.meet(event, mode, False, act)
        if event == "run_failed":
            stage.acted[event, mode, True] = stage.acted.get((event, mode, False), 0.0)


ACTS: dict[str, Callable[[Task], object]] = {
    "pause": lambda task: task.run.api.call("PATCH", f"/dags/{task.run.dag_id}", {"is_paused": True}),
    "mark_failed": lambda task: task.mark("failed"),
    "clear": lambda task: task.clear(),
    "mark_success": lambda task: task.mark("success"),
    "run_failed": lambda task: task.run.api.call("PATCH", task.run.path, {"state": "failed"}),
}


def _lose(event: str, process: psutil.Process) -> None:
    """A worker that goes. The supervisor passes SIGTERM on since Airflow 3.3; before, only a whole group gets it."""
    supervisor = process.parent()
    if event == "worker_killed":
        supervisor.kill()
        process.kill()
    elif event == "task_killed":
        process.kill()
    elif AIRFLOW == "3.1":
        process.terminate()
    else:
        supervisor.terminate()


class TestKill:
    @pytest.mark.parametrize(("event", "mode", "mapped"), KILLS)
    def test_the_job_is_cancelled_within_30_seconds(
        self, acts: Stage, table: Table, event: str, mode: str, mapped: bool
    ) -> None:
        task = acts.victim(event, mode, mapped)
        if event == "dagrun_timeout":
            acted, name = _timed_out_at(task), acts.jobs_of(task)[0]["name"]
        else:
            name = acts.job(event, mode, mapped)
            acted = acts.acted[event, mode, mapped]
        seconds = acts.cancelled_at(name, within=150 if event == "dagrun_timeout" else 60) - acted
        assert 0 <= seconds <= WITHIN
        if event != "clear":
            assert [job["name"] for job in acts.jobs_of(task)] == [name]
            assert task.state() == LAST_STATE[event]
            assert task.info()["try_number"] == 1
            table.note(EVENTS[event], mode, mapped, f"cancelled after {seconds:.0f} s")
        each_once(container(task.log()))

    @pytest.mark.parametrize("mapped", [False, True], ids=["plain", "mapped"])
    @pytest.mark.parametrize("mode", MODES)
    def test_after_a_clear_a_new_job_runs_once_the_old_one_has_ended(
        self, acts: Stage, table: Table, mode: str, mapped: bool
    ) -> None:
        task, old = acts.victim("clear", mode, mapped), acts.job("clear", mode, mapped)
        new = until(lambda: [job for job in acts.jobs_of(task) if job["name"] != old], 60, "a new job")
        ended = acts.cancelled_at(old)
        assert len(new) == 1
        assert created(new[0]) >= ended
        until(lambda: reached(acts.batch.job(new[0]["name"]), "RUNNING"), 60, "the new job to run")
        acts.end(task)
        assert task.wait("success", "failed", try_number=2) == "success"
        assert task.xcom()["name"] == new[0]["name"]
        whole(container(task.log(2)))
        each_once(container(task.log(1)))
        assert len(acts.jobs_of(task)) == 2
        seconds = ended - acts.acted["clear", mode, mapped]
        table.note(EVENTS["clear"], mode, mapped, f"cancelled after {seconds:.0f} s, then a new job")


def _timed_out_at(task: Task) -> float:
    """When the Dag's run was over its time."""
    from datetime import datetime

    run = task.run.api.call("GET", task.run.path)
    return datetime.fromisoformat(run["start_date"]).timestamp() + 100


class TestDeadline:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("event", DEADLINES)
    def test_the_job_is_cancelled_and_the_task_says_which_deadline_it_was(
        self, acts: Stage, table: Table, event: str, mode: str
    ) -> None:
        task = acts.task(event, mode)
        assert task.wait(within=150) == "failed"
        (job,) = acts.jobs_of(task)
        seconds = acts.cancelled_at(job["name"]) - created(job) - DEADLINES[event]
        # Airflow's own timer runs from the task's start, before the job's: ours has to be quicker than that.
        assert seconds <= (0 if event == "execution_timeout" else WITHIN)
        assert event in words(task.log())
        assert "JobTimedOut" in words(task.log())
        each_once(container(task.log()))
        when = "before it strikes" if event == "execution_timeout" else f"after {seconds:.0f} s"
        table.note(EVENTS[event], mode, False, f"cancelled {when}")


class TestWorkerGoes:
    @pytest.mark.parametrize("event", LOSSES)
    def test_the_job_lives_on_and_the_retry_adopts_it(self, acts: Stage, table: Table, event: str) -> None:
        task, name = acts.task(event, "sync"), acts.job(event, "sync", False)
        task.wait("running", try_number=2, within=120)
        until(lambda: container(task.log(2)), 60, "a line in the retry's log")
        assert acts.batch.state(name) == "RUNNING"
        acts.end(task)
        assert task.wait("success", "failed", try_number=2) == "success"
        assert task.xcom()["name"] == name
        assert len(acts.jobs_of(task)) == 1
        assert task.info()["try_number"] == 2
        each_once(container(task.log(1)))
        whole(container(task.log(2)))
        table.note(EVENTS[event], "sync", False, "runs on, adopted by the retry")


class TestPaused:
    @pytest.mark.parametrize("mode", MODES)
    def test_the_job_lives_on(self, acts: Stage, table: Table, mode: str) -> None:
        task = acts.task("pause", mode)
        (job,) = acts.jobs_of(task)
        assert job["status"]["state"] == "RUNNING"
        assert task.state() == ("deferred" if mode == "deferrable" else "running")
        acts.end(task)
        until(lambda: acts.batch.state(job["name"]) == "SUCCEEDED", 30, "the job's end")
        acts.api.call("PATCH", f"/dags/kill_pause_{mode}", {"is_paused": False})
        assert task.wait() == "success"
        whole(container(task.log()))
        assert task.info()["try_number"] == 1
        table.note(EVENTS["pause"], mode, False, "runs on")


@pytest.fixture(scope="module")
def lost(acts: Stage, table: Table) -> Stage:
    """The triggerer lost twice, while many wait in it: told to stop, then killed."""
    for event, mode, mapped in acts.acted:
        if event in LAST_STATE or event == "clear":
            with contextlib.suppress(Exception):  # its own test tells
                acts.cancelled_at(acts.job(event, mode, mapped), within=30)
    tasks = [acts.task("triggerer", "deferrable", n) for n in (-1, 0, 1, 2)]
    for task in tasks:
        acts.begun(task, "deferrable")
    for how, event in ((signal.SIGTERM, "triggerer_told"), (signal.SIGKILL, "triggerer_killed")):
        acts.airflow.lose_triggerer(how)
        seen = time.time()
        if how == signal.SIGKILL:
            acts.acted["clear_without_triggerer", "deferrable", True] = time.time()
            tasks[3].clear()
        acts.airflow.bring_triggerer_back()
        for task in tasks[:3]:
            until(lambda t=task, seen=seen: _last_line_at(t) > seen + 1, 90, f"{task.map_index} to be waited for again")
            assert [job["status"]["state"] for job in acts.jobs_of(task)] == ["RUNNING"]
            assert task.state() == "deferred"
            table.note(EVENTS[event], "deferrable", task.map_index >= 0, "runs on, log whole")
    return acts


def _last_line_at(task: Task) -> float:
    from datetime import datetime

    lines = [line for line in task.log() if line.logger == "batch.group0.0"]
    return datetime.fromisoformat(lines[-1].at).timestamp() if lines else 0.0


class TestTriggererGoes:
    @pytest.mark.parametrize("map_index", [-1, 0, 1])
    def test_no_job_is_cancelled_and_no_line_is_lost(self, lost: Stage, map_index: int) -> None:
        task = lost.task("triggerer", "deferrable", map_index)
        lost.end(task)
        assert task.wait() == "success"
        assert task.info()["try_number"] == 1
        assert len(lost.jobs_of(task)) == 1
        whole(container(task.log()))

    def test_a_clear_without_a_triggerer_ends_the_old_job_before_the_new_one(self, lost: Stage, table: Table) -> None:
        task = lost.task("triggerer", "deferrable", 2)
        old, new = until(lambda: len(jobs := lost.jobs_of(task)) == 2 and jobs, 90, "a new job")
        ended = lost.cancelled_at(old["name"])
        assert created(new) >= ended
        lost.end(task)
        assert task.wait("success", "failed", try_number=2) == "success"
        whole(container(task.log(2)))
        seconds = ended - lost.acted["clear_without_triggerer", "deferrable", True]
        words = f"cancelled by the new attempt after {seconds:.0f} s, then a new job"
        table.note(EVENTS["clear_without_triggerer"], "deferrable", True, words)


class TestBystander:
    @pytest.mark.parametrize("event", ["mark_failed", "clear"])
    @pytest.mark.parametrize("mode", MODES)
    def test_other_indexes_of_a_mapped_task_are_untouched(
        self, lost: Stage, table: Table, mode: str, event: str
    ) -> None:
        task = lost.task(event, mode, 0)
        (job,) = lost.jobs_of(task)
        assert job["status"]["state"] == "RUNNING"
        lost.end(task)
        assert task.wait() == "success"
        assert task.info()["try_number"] == 1
        whole(container(task.log()))
        assert len(lost.jobs_of(task)) == 1
        table.note(EVENTS["bystander"], mode, True, "runs on")


class TestPage:
    def test_docs_reliability_says_what_was_seen(self, table: Table) -> None:
        events = list(EVENTS.values())
        if set(table.rows) != set(events):
            pytest.skip("not applicable: the other tests of this module did not all run, or failed")
        if os.environ.get("BATCHSTREAM_WRITE_DOCS") == "1":
            table.write(PAGE, events)
        assert without_seconds(table.section(PAGE)) == without_seconds(table.markdown(events))
