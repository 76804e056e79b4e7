"""A user's walk through Airflow's UI, in a headless Chromium: the list, the form, the log while it grows, the buttons.

The Airflow is the one of ``tests/airflow``. The runs that are only looked at start before the browser does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from airflow_api import AirflowApi, Run
from batch_rest import BatchRest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (make setup-dev)")
from airflow_ui import CHROMIUM, Ui, browser
from live_airflow import LiveAirflow
from playwright.sync_api import expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (on Debian: apt install chromium)"),
]

SPEAKS = "for i in 1 2 3; do echo line $i of 3; sleep 1; done; sleep 300"
FAILS = "echo reading the input; echo cannot read /data/input.csv >&2; exit 3"


@pytest.fixture(scope="module")
def succeeding(airflow: AirflowApi) -> Run:
    """A run with a job of two Batch tasks."""
    return airflow.trigger("example_1_json_job")


@pytest.fixture(scope="module")
def failing(airflow: AirflowApi) -> Run:
    """A run whose container exits with 3."""
    return airflow.trigger("example_2_by_hand", command=["sh", "-c", FAILS])


@pytest.fixture(scope="module")
def ui(live_airflow: LiveAirflow, succeeding: Run, failing: Run) -> Iterator[Ui]:
    """The browser."""
    with browser(live_airflow.url) as window:
        yield window


class TestWalk:
    def test_the_list_shows_the_example_dags(self, ui: Ui) -> None:
        ui.dags("example_")
        for dag_id in ("example_1_json_job", "example_2_by_hand"):
            expect(ui.dag_link(dag_id)).to_be_visible()

    def test_the_form_starts_a_job_whose_lines_are_seen_while_it_runs(
        self, ui: Ui, airflow: AirflowApi, batch: BatchRest
    ) -> None:
        ui.dags("example_2")
        ui.open_dag("example_2_by_hand")
        form = ui.form(command=f"sh\n-c\n{SPEAKS}", machine_type="e2-standard-8")
        task = Run(airflow, "example_2_by_hand", ui.send(form)).task("job")

        ui.open_task("job")
        for n in range(1, 4):
            expect(ui.line(f"line {n} of 3")).to_have_count(1)
        expect(ui.state()).to_have_text("Running")
        job = task.xcom("batch_job")["name"]
        assert batch.state(job) == "RUNNING"
        assert batch.job(job)["allocationPolicy"]["instances"][0]["policy"]["machineType"] == "e2-standard-8"

        batch.cancel(job)  # somebody does, elsewhere: the log says so without being asked again
        expect(ui.state()).to_have_text("Failed")
        expect(ui.line("CANCELLED").last).to_be_visible()

    def test_the_log_is_filtered_by_level_and_by_batch_task(self, ui: Ui, succeeding: Run) -> None:
        assert succeeding.wait() == "success"
        ui.task_log(succeeding.task("job"))
        expect(ui.line("step 3 of 3")).to_have_count(2)
        expect(ui.line("a word on stderr")).to_have_count(2)

        ui.choose("All Sources", "batch.group0.1")
        expect(ui.line("hello from task 1 of 2")).to_be_visible()
        expect(ui.line("hello from task 0 of 2")).to_have_count(0)
        expect(ui.line("step 3 of 3")).to_have_count(1)

        ui.choose("All Log Levels", "ERROR")
        expect(ui.line("a word on stderr")).to_have_count(1)
        expect(ui.line("step 3 of 3")).to_have_count(0)

    def test_two_buttons_lead_to_the_job_and_to_its_logs(self, ui: Ui, succeeding: Run) -> None:
        assert succeeding.wait() == "success"
        ui.task_log(succeeding.task("job"))
        ui.task_details()
        job = succeeding.task("job").xcom("batch_job")["name"].rpartition("/")[2]
        buttons = {name: ui.page.get_by_role("link", name=name, exact=True) for name in ("Batch job", "Batch job logs")}
        console = re.escape("https://console.cloud.google.com/")
        expect(buttons["Batch job"]).to_have_attribute("href", re.compile(f"^{console}batch/.*/jobs/{job}/"))
        expect(buttons["Batch job logs"]).to_have_attribute("href", re.compile(f"^{console}logs/.*{job}"))

    def test_a_failed_task_ends_with_the_block_that_says_why(self, ui: Ui, failing: Run) -> None:
        assert failing.wait() == "failed"
        ui.task_log(failing.task("job"))
        expect(ui.state()).to_have_text("Failed")
        expect(ui.line("exit code 3").first).to_be_visible()
        expect(ui.line("cannot read /data/input.csv").first).to_be_visible()
        expect(ui.line("The last lines printed by failed tasks")).to_have_count(1)  # the error does not repeat it all
        expect(ui.line("Costs: the job has ended")).to_have_count(1)
