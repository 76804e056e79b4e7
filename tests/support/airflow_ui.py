"""Airflow's UI in a headless Chromium: what a user sees and clicks, found by role, name or test id."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from airflow_api import Run, Task
from playwright.sync_api import Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT = 1400, 1400
PATIENCE = 45_000.0
"""Milliseconds. Nothing takes so long by itself; the machine may be busy with other things."""


@dataclass(frozen=True)
class Ui:
    """A window of the browser.

    :param url: of Airflow's API server.
    """

    page: Page
    url: str

    def dags(self, pattern: str) -> None:
        """The list of Dags, with those whose name holds this text."""
        self.page.goto(f"{self.url}/dags?name_pattern={quote(pattern)}")

    def dag_link(self, dag_id: str) -> Locator:
        """A Dag's name in the list."""
        return self.page.get_by_role("link", name=dag_id, exact=True).first

    def open_dag(self, dag_id: str) -> None:
        """From the list to a Dag's page, until it is there: the list has ``Trigger`` buttons too."""
        self.dag_link(dag_id).click()
        self.page.wait_for_url(re.compile(f"/dags/{dag_id}$"))
        expect(self.page.get_by_test_id("grid-view-button")).to_be_visible()

    def form(self, **fields: str) -> Locator:
        """On the page of a Dag: press ``Trigger`` and fill fields of its form in; the form."""
        self.page.get_by_test_id("trigger-dag-button").first.click()
        form = self.page.get_by_role("dialog")
        for name, text in fields.items():
            field = form.locator(f"[name=element_{name}]")
            field.fill(text)
            field.blur()
            expect(field).to_have_value(text)
        return form

    def send(self, form: Locator) -> str:
        """Send the form; the id of the run that it starts, whose page opens by itself."""
        form.get_by_test_id("trigger-dag-submit").click()
        self.page.wait_for_url(re.compile("/runs/[^/]+$"))
        return unquote(self.page.url.rpartition("/")[2])

    def open_task(self, task_id: str) -> None:
        """On the page of a run: click on a task in its list."""
        self.page.locator(f"a[href*='/runs/'][href$='/tasks/{task_id}']").filter(has_text=task_id).last.click()

    def task_log(self, task: Task) -> None:
        """Open a task's log by its address."""
        self.page.goto(f"{self.url}{_path(task.run)}/tasks/{task.task_id}?try_number=1")

    def task_details(self) -> None:
        """From a task's log to its details, where the link buttons are."""
        self.page.get_by_test_id("main-content").get_by_role("link", name="Details", exact=True).last.click()

    def state(self) -> Locator:
        """The badge beside the task's name."""
        return self.page.get_by_test_id("header-card").get_by_test_id("state-badge")

    def line(self, text: str) -> Locator:
        """The lines of the log that hold this text."""
        return self.page.locator("[data-testid^=virtualized-item-]").filter(has_text=text)

    def choose(self, filter_name: str, *options: str) -> None:
        """Choose in one of the log's filters, which is named by what it says at first: ``All Log Levels``."""
        self.page.get_by_role("combobox").filter(has_text=filter_name).click()
        for option in options:
            self.page.get_by_role("option", name=option, exact=True).click()
        self.page.keyboard.press("Escape")


def _path(run: Run) -> str:
    return f"/dags/{run.dag_id}/runs/{quote(run.run_id)}"


@contextlib.contextmanager
def browser(url: str, remembered: Mapping[str, str] | None = None, scale: float = 1.0) -> Iterator[Ui]:
    """A Chromium with one window, logged in.

    :param remembered: what the UI keeps for this user in the browser: ``{"log_wrap": "true"}``.
    :param scale: pixels of a screenshot for each of the window's.
    :raises RuntimeError: there is no Chromium.
    """
    if CHROMIUM is None:
        raise RuntimeError("no chromium on PATH (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        # Its sandbox needs rights that root in a container often lacks; it visits nothing but this Airflow.
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        context = chromium.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=scale,
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page = context.new_page()
        page.goto(url)  # sets the cookie of whoever is logged in
        for key, value in (remembered or {}).items():
            page.evaluate("([key, value]) => localStorage.setItem(key, value)", [key, value])
        try:
            yield Ui(page, url)
        finally:
            context.close()
            chromium.close()
