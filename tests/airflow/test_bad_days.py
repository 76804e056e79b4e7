"""Bad days of deferred tasks in a real Airflow, read as a user reads them: in the task's log, through Airflow's API.

All runs are started at once. The last test kills the triggerer and starts it again.
"""

from __future__ import annotations

import json
import runpy
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from airflow_api import AirflowApi, LogLine, Run, Task, until
from batch_rest import BatchRest
from deferred import one_instant
from live_airflow import LiveAirflow

from airflow_batchstream.emulator.testing import Local

DAGS = Path(__file__).parent / "dags"
RUNS = ("burst", "late", "lines", "two", "deleted", "connection")


@pytest.fixture(scope="module")
def runs(airflow: AirflowApi, local_batch: Local) -> Iterator[dict[str, Run]]:
    """The runs, all under way."""
    one_instant(local_batch, "instant ")
    local_batch.inject({"job": "case-bad-late*", "late": 60.0})
    account = Path(local_batch.tls_environment["GOOGLE_APPLICATION_CREDENTIALS"]).read_text()
    connection = {"connection_id": "in_database", "conn_type": "google_cloud_platform"}
    airflow.call("POST", "/connections", connection | {"extra": json.dumps({"keyfile_dict": account})})
    yield {name: airflow.trigger(f"case_bad_{name}") for name in RUNS}


def container(log: list[LogLine]) -> list[str]:
    """What the job's container printed."""
    return [line.text for line in log if line.logger == "batch.group0.0"]


def words(log: list[LogLine]) -> str:
    """All else: what the operator and Airflow say, errors included."""
    return "\n".join(str(dict(line.raw)) for line in log if line.logger != "batch.group0.0")


def name_of(task: Task) -> str:
    """The name of its job."""
    return str(until(lambda: task.xcom("batch_job"), 90, "the job")["name"])


class TestOddLines:
    def test_are_shown_for_what_they_are(self, runs: dict[str, Run]) -> None:
        odd: dict[bytes, str] = runpy.run_path(str(DAGS / "case_bad_days.py"))["ODD"]
        task = runs["lines"].task("odd")
        assert task.wait() == "success"
        shown = [line for line in task.log() if line.logger == "batch.group0.0"]
        assert [line.text for line in shown] == list(odd.values())
        assert {line.level for line in shown} == {"info"}

    def test_of_five_megabytes_are_shown_whole(self, runs: dict[str, Run]) -> None:
        task = runs["lines"].task("huge")
        assert task.wait() == "success"
        first, *pieces, last = container(task.log())
        assert (first, last) == ("before", "after")
        assert max(len(piece.encode()) for piece in pieces) <= 8192
        assert sum(piece.count("x") for piece in pieces) == 5_000_000

    def test_of_one_instant_are_each_shown_once_in_order(self, runs: dict[str, Run]) -> None:
        task = runs["lines"].task("instant")
        assert task.wait() == "success"
        shown = [line for line in task.log() if line.logger == "batch.group0.0"]
        assert [line.text for line in shown] == [f"instant {n}" for n in range(1, 10_001)]
        assert len({line.at for line in shown}) == 1


class TestTwoTasksThatWaitForOneJob:
    @pytest.mark.parametrize("task_id", ["one", "other"])
    def test_each_show_every_line_once(self, runs: dict[str, Run], task_id: str) -> None:
        task = runs["two"].task(task_id)
        assert task.wait() == "success"
        assert container(task.log()) == [str(n) for n in range(1, 601)]


class TestAJobDeletedBySomebodyElse:
    def test_fails_the_task_for_good_and_costs_nothing_any_more(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["deleted"].task("job")
        task.wait("deferred")
        until(lambda: container(task.log()), 60, "the job's first line")
        batch._call("DELETE", name_of(task))
        assert task.wait() == "failed"
        assert task.info()["try_number"] == 1
        assert container(task.log()) == ["begun"]
        said = words(task.log())
        assert "was deleted, and not by this task" in said
        assert "it costs nothing any more" in said
        assert "Batch does not know the job (NOT_FOUND: " in said
        assert "the job itself goes on" not in said
        assert task.xcom("batch_job")["state"] == "DELETED"


class TestAConnectionThatIsMissingInTheTriggerer:
    def test_is_named_and_the_job_is_said_to_go_on(self, runs: dict[str, Run], batch: BatchRest) -> None:
        task = runs["connection"].task("job")
        assert task.wait() == "failed"
        said = words(task.log())
        assert "gcp_conn_id: there is no connection 'workers_only'." in said
        assert "have to be there for the triggerer as for workers" in said
        assert "not submitted" not in said
        assert "lives on, and costs money until its end; a retry adopts it" in said
        name = name_of(task)
        assert f"gcloud batch jobs cancel {name.rpartition('/')[2]}" in said
        assert batch.state(name) == "RUNNING"
        batch.cancel(name)


class TestAConnectionInAirflowsDatabase:
    @pytest.mark.parametrize("task_id", ["beside", "too"])
    def test_serves_the_triggerer_at_the_same_time(self, runs: dict[str, Run], task_id: str) -> None:
        """As at Google's: by its names, with TLS and a key from the connection."""
        task = runs["connection"].task(task_id)
        assert task.wait() == "success"
        assert container(task.log()) == ["hello"]
        assert "BEGIN PRIVATE KEY" not in str([line.raw for line in task.log()])


class TestALostTriggerer:
    def test_in_the_middle_of_a_burst_loses_no_line(
        self, runs: dict[str, Run], live_airflow: LiveAirflow, local_batch: Local
    ) -> None:
        """Lines of one millisecond may show twice: both triggerers wrote them, and Airflow folds only the others."""
        task = runs["burst"].task("job")
        task.wait("deferred")
        (local_batch.state_dir / "buckets" / "my-bucket" / "bad" / task.run.run_id / "open").touch()
        before = until(lambda: len(n) if len(n := container(task.log())) > 1000 else 0, 60, "lines")
        live_airflow.lose_triggerer(signal.SIGKILL)
        live_airflow.bring_triggerer_back()
        assert before < 12_000
        assert task.wait(within=150) == "success"
        whole([line for line in task.log() if line.logger == "batch.group0.0"], "line", 12_000)


class TestALogThatComesAMinuteLate:
    def test_is_shown_whole_at_its_own_time(self, runs: dict[str, Run]) -> None:
        """Each line is received up to 60 s after it was printed; meanwhile the triggerer is lost, as above."""
        task = runs["late"].task("job")
        assert task.wait() == "success"
        shown = [line for line in task.log() if line.logger == "batch.group0.0"]
        assert [line.at[:23] for line in shown] == sorted(line.at[:23] for line in shown)
        printed = datetime.fromisoformat(shown[-1].at) - datetime.fromisoformat(shown[0].at)
        assert printed.total_seconds() < 30
        whole(shown, "late", 100)


def whole(shown: list[LogLine], word: str, count: int) -> None:
    """Every line is there; twice only one that shares its millisecond with others, which Airflow does not always fold:
    the triggerer that was lost has written it, and the next one too.
    """
    at = {line.text: line.at[:23] for line in shown}
    assert sorted(at, key=lambda text: int(text.split()[1])) == [f"{word} {n}" for n in range(1, count + 1)]
    times, crowds = Counter(line.text for line in shown), Counter(at.values())
    twice = [text for text, often in times.items() if often > 1]
    assert [text for text in twice if crowds[at[text]] == 1 or times[text] > 2] == []
