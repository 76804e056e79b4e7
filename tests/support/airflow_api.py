"""What a user does in Airflow's UI, through the same API: trigger, look, read the log, mark, clear."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ENDED = ("success", "failed", "upstream_failed", "skipped", "removed")


class ApiError(Exception):
    """Airflow's API answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log, as the UI shows it."""

    at: str
    level: str
    logger: str
    text: str
    raw: Mapping[str, Any]


@dataclass
class AirflowApi:
    """Airflow's public REST API, as an admin."""

    url: str
    token: str = ""

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One call; JSON in, JSON out. The token is fetched when it is first needed.

        A user would click again where SQLite was locked (500): nothing was done then.
        """
        if not self.token:
            self.token = self._send("GET", f"{self.url}/auth/token", None, {})["access_token"]
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        url, header = f"{self.url}/api/v2{path}{asked}", {"Authorization": f"Bearer {self.token}"}
        for _ in range(10):
            try:
                return self._send(method, url, body, header)
            except ApiError as error:
                if error.status != 500:
                    raise
                time.sleep(1)
        return self._send(method, url, body, header)

    @staticmethod
    def _send(method: str, url: str, body: Any, headers: Mapping[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        wanted = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data=data, method=method, headers=wanted), timeout=60
            ) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")[:2000]) from None
        return json.loads(text) if text else None

    # Airflow as a whole

    def healthy(self) -> bool:
        """Whether the API server answers and the scheduler and the Dag processor have been seen."""
        try:
            health = self.call("GET", "/monitor/health")
        except (OSError, ApiError):
            return False
        return all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler"))

    def dag_ids(self) -> set[str]:
        """The Dags it knows."""
        return {dag["dag_id"] for dag in self.call("GET", "/dags", limit=100)["dags"]}

    def import_errors(self) -> list[str]:
        """The stack traces of Dag files that do not import."""
        return [f"{e['filename']}\n{e['stack_trace']}" for e in self.call("GET", "/importErrors")["import_errors"]]

    # runs and tasks

    def trigger(self, dag_id: str, **conf: Any) -> Run:
        """Start a run, once the Dag's file has been parsed."""
        until(lambda: self._knows(dag_id), 90, f"the Dag {dag_id}")
        made = self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return Run(self, dag_id, made["dag_run_id"])

    def _knows(self, dag_id: str) -> bool:
        try:
            return bool(self.call("GET", f"/dags/{dag_id}"))
        except ApiError as error:
            if error.status != 404:
                raise
            return False


@dataclass(frozen=True)
class Run:
    """One run of a Dag."""

    api: AirflowApi
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        """Of the run, below ``/api/v2``."""
        return f"/dags/{self.dag_id}/dagRuns/{urllib.parse.quote(self.run_id)}"

    def task(self, task_id: str, map_index: int = -1) -> Task:
        """One of its tasks."""
        return Task(self, task_id, map_index)

    def state(self) -> str:
        """``queued``, ``running``, ``success``, ``failed``."""
        return str(self.api.call("GET", self.path)["state"])

    def wait(self, within: float = 120.0) -> str:
        """Wait until the run has ended; its state."""
        return str(until(lambda: s if (s := self.state()) in ENDED else "", within, f"the end of {self.run_id}"))


@dataclass(frozen=True)
class Task:
    """One task instance of a run."""

    run: Run
    task_id: str
    map_index: int = -1

    @property
    def path(self) -> str:
        """Of the task instance, below ``/api/v2``."""
        mapped = f"/{self.map_index}" if self.map_index >= 0 else ""
        return f"{self.run.path}/taskInstances/{self.task_id}{mapped}"

    def info(self) -> dict[str, Any]:
        """What the API tells of it: state, try_number, pid ..."""
        return dict(self.run.api.call("GET", self.path))

    def state(self) -> str:
        """Its state, empty before the scheduler has looked at it."""
        return str(self.info()["state"] or "")

    def wait(self, *states: str, try_number: int = 1, within: float = 120.0) -> str:
        """Wait for a state (any end, if none is named) of the given try or a later one."""
        wanted = states or ENDED

        def reached() -> str:
            info = self.info()
            return str(info["state"]) if info["state"] in wanted and info["try_number"] >= try_number else ""

        return str(until(reached, within, f"{self.task_id} in {self.run.run_id} to be {' or '.join(wanted)}"))

    def log(self, try_number: int = 1) -> list[LogLine]:
        """All lines that a try's log has so far, in the order in which the UI shows them.

        One answer holds them all. The token in it continues where they end; Airflow 3.1 starts again with it.
        """
        where = f"{self.run.path}/taskInstances/{self.task_id}/logs/{try_number}"
        try:
            page = self.run.api.call("GET", where, map_index=self.map_index)
        except ApiError as error:
            if error.status == 404:  # the try has not begun
                return []
            raise
        return [_log_line(entry) for entry in page["content"]]

    def xcom(self, key: str = "return_value") -> Any:
        """A value it pushed; None if there is none."""
        query = {"map_index": self.map_index, "deserialize": "true"}
        path = f"{self.run.path}/taskInstances/{self.task_id}/xcomEntries/{key}"
        try:
            value = self.run.api.call("GET", path, **query)["value"]
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value

    def links(self) -> dict[str, str | None]:
        """The names of its buttons, and where they lead."""
        where = f"{self.run.path}/taskInstances/{self.task_id}/links"
        found = self.run.api.call("GET", where, **({"map_index": self.map_index} if self.map_index >= 0 else {}))
        return dict(found["extra_links"])

    def mark(self, state: str) -> None:
        """``Mark as failed`` or ``Mark as success``."""
        self.run.api.call("PATCH", self.path, {"new_state": state})

    def clear(self) -> None:
        """``Clear task``: run it again."""
        task: str | list[Any] = [self.task_id, self.map_index] if self.map_index >= 0 else self.task_id
        body = {
            "dag_run_id": self.run.run_id,
            "task_ids": [task],
            "dry_run": False,
            "only_failed": False,
            "only_running": False,
            "reset_dag_runs": True,
        }
        self.run.api.call("POST", f"/dags/{self.run.dag_id}/clearTaskInstances", body)


def _log_line(entry: Mapping[str, Any] | str) -> LogLine:
    if isinstance(entry, str):  # an error of the reader itself
        return LogLine("", "", "", entry, {})
    return LogLine(
        entry.get("timestamp") or "", entry.get("level", ""), entry.get("logger", ""), entry.get("event", ""), entry
    )


def until(look: Callable[[], Any], within: float, what: str) -> Any:
    """Look every half second until there is something to see.

    :raises TimeoutError: naming what was waited for.
    """
    end = time.monotonic() + within
    while not (seen := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {within:.0f} s for {what}")
        time.sleep(0.5)
    return seen
