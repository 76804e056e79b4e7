"""The harness itself: what the other tests of this folder stand on."""

from __future__ import annotations

import contextlib

import psutil
import pytest
from airflow_api import AirflowApi, Run
from live_airflow import LiveAirflow


@pytest.fixture(scope="module")
def run(airflow: AirflowApi) -> Run:
    run = airflow.trigger("case_trivial")
    assert run.wait() == "success"
    return run


class TestLiveAirflow:
    def test_a_log_is_read_line_by_line_with_levels(self, run: Run) -> None:
        lines = [line for line in run.task("speak").log() if line.logger == "case.trivial"]
        assert [(line.text, line.level) for line in lines] == [
            ("line 0", "info"),
            ("line 1", "warning"),
            ("line 2", "info"),
            ("line 3", "warning"),
            ("line 4", "info"),
        ]

    def test_an_xcom_is_read_as_what_was_pushed(self, run: Run) -> None:
        assert run.task("speak").xcom() == {"lines": 5}
        assert run.task("speak").xcom("no_such_key") is None

    def test_mapped_tasks_are_told_apart(self, run: Run) -> None:
        assert [run.task("each", n).xcom() for n in range(3)] == [1, 4, 9]
        assert any("Returned value was: 9" in line.text for line in run.task("each", 2).log())

    def test_a_cleared_task_runs_again_and_has_a_log_of_its_own(self, airflow: AirflowApi) -> None:
        run = airflow.trigger("case_trivial")
        assert run.wait() == "success"
        run.task("speak").clear()
        assert run.task("speak").wait("success", try_number=2) == "success"
        assert [line.text for line in run.task("speak").log(2) if line.logger == "case.trivial"] == [
            f"line {n}" for n in range(5)
        ]

    def test_it_listens_on_loopback_only(self, live_airflow: LiveAirflow) -> None:
        started = [psutil.Process(process.pid) for process in live_airflow.processes.values()]
        family = started + [child for process in started for child in process.children(recursive=True)]
        listening = set()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                listening |= {c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        assert live_airflow.port in {address.port for address in listening}
        assert {address.ip for address in listening} == {"127.0.0.1"}
