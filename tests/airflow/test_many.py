"""Twenty deferred tasks in one triggerer, one of their jobs printing 40,000 lines a minute, in a real Airflow.

Two hundred in one process are in ``benchmarks/waits.py``.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from airflow_api import AirflowApi, Run, Task, until

from airflow_batchstream.emulator.testing import Local

JOBS = 20


@pytest.fixture(scope="module")
def run(airflow: AirflowApi, local_batch: Local) -> Run:
    """A run whose tasks are all deferred at the same time before any of the jobs goes on."""
    run = airflow.trigger("case_many")

    def deferred() -> bool:
        query = {"state": "deferred", "limit": JOBS}
        return airflow.call("GET", f"{run.path}/taskInstances", **query)["total_entries"] == JOBS

    until(deferred, 240, f"{JOBS} deferred tasks")
    gate = local_batch.state_dir / "buckets" / "my-bucket" / "many" / run.run_id
    (gate / "open").touch()
    return run


@pytest.fixture(scope="module")
def tasks(run: Run) -> list[Task]:
    """All of its tasks, ended."""
    found = [run.task("job", n) for n in range(JOBS)]
    assert [task.wait(within=300) for task in found] == ["success"] * JOBS
    return found


def container(task: Task) -> list[str]:
    """What its job's container printed."""
    return [line.text for line in task.log() if line.logger.startswith("batch.group")]


class TestTwentyDeferredTasks:
    def test_show_every_line_of_a_quiet_job_once(self, tasks: list[Task]) -> None:
        for task in tasks[1:]:
            assert container(task) == ["waits", *(f"word {n}" for n in range(1, 6))]

    def test_show_every_line_of_a_chatty_job_once(self, tasks: list[Task]) -> None:
        waits, *lines, last = container(tasks[0])
        assert (waits, last) == ("waits", f"{len(lines)} lines")
        assert lines == [f"line {n}" for n in range(len(lines))]
        assert len(lines) > 5_000

    def test_do_not_wait_for_the_chatty_one(self, tasks: list[Task]) -> None:
        """Quiet jobs run for 5 s and the chatty one for 15: their ends are told meanwhile."""
        chatty, *quiet = (told_at(task) for task in tasks)
        assert sum(end < chatty for end in quiet) >= len(quiet) - 2


def told_at(task: Task) -> datetime:
    """When its log said that the job has ended."""
    [end] = [line for line in task.log() if " SUCCEEDED after " in line.text]
    return datetime.fromisoformat(end.at)
