"""What the kill matrix needs beside the common harnesses: the local Batch's own account of a job, and the table of what
was seen, as docs/reliability.md shows it.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow_api import Run
from batch_rest import PARENT, BatchRest

COLUMNS = ("sync", "sync, mapped", "deferrable", "deferrable, mapped")
NOTHING = "–"


@dataclass(frozen=True)
class BatchAccount(BatchRest):
    """What the local Batch itself says of jobs: the matrix takes its word, not the task log's."""

    def jobs(self, run: Run, task_id: str, map_index: int = -1) -> list[dict[str, Any]]:
        """All jobs that were ever made for a task, oldest first."""
        wanted = urllib.parse.quote(f'labels.airflow-dag-id="{run.dag_id}"')
        found = self._call("GET", f"{PARENT}/jobs?pageSize=1000&filter={wanted}").get("jobs", [])
        mine = {"airflow-task-id": task_id, "airflow-map-index": str(map_index)}
        return sorted((job for job in found if mine.items() <= job["labels"].items()), key=created)

    def job(self, name: str) -> dict[str, Any]:
        """One job."""
        return dict(self._call("GET", name))


def created(job: dict[str, Any]) -> float:
    """When Batch created it, in seconds since the epoch."""
    return _seconds(job["createTime"])


def reached(job: dict[str, Any], state: str) -> float | None:
    """When it reached a state, as its status events tell."""
    told = [e for e in job["status"].get("statusEvents", []) if re.search(rf" to {state}\b", e["description"])]
    return _seconds(told[-1]["eventTime"]) if told else None


def _seconds(text: str) -> float:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", text)).timestamp()


@dataclass
class Table:
    """Event by event what became of the job, in each mode."""

    airflow: str
    rows: dict[str, dict[str, str]] = field(default_factory=dict)

    def note(self, event: str, mode: str, mapped: bool, words: str) -> None:
        """Write a cell; of two observations the slower or later one stays."""
        self.rows.setdefault(event, {})[f"{mode}, mapped" if mapped else mode] = words

    def markdown(self, events: Iterable[str]) -> str:
        """The rows in the order of the events."""
        head = ["| event | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        body = [
            f"| {event} | " + " | ".join(self.rows.get(event, {}).get(column, NOTHING) for column in COLUMNS) + " |"
            for event in events
        ]
        return "\n".join([*head, *body])

    def section(self, page: Path) -> str:
        """What the page has of this Airflow now."""
        found = self._pattern().search(page.read_text())
        assert found, f"{page} has no table for Airflow {self.airflow}"
        return found[2].strip()

    def write(self, page: Path, events: Iterable[str]) -> None:
        """Put what was seen into the page."""
        text = page.read_text()
        new = self._pattern().sub(lambda m: f"{m[1]}\n{self.markdown(events)}\n{m[3]}", text)
        page.write_text(new)

    def _pattern(self) -> re.Pattern[str]:
        mark = re.escape(self.airflow)
        return re.compile(rf"(<!-- seen on Airflow {mark} -->)(.*?)(<!-- end of {mark} -->)", re.DOTALL)


def without_seconds(markdown: str) -> str:
    """The table without what differs from run to run."""
    return re.sub(r"\d+ s\b", "N s", markdown)
