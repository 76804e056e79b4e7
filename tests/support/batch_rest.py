"""Batch's REST API as anybody might call it: what is done to a job from outside of Airflow, and what became of it."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

PARENT = "projects/my-project/locations/us-central1"


@dataclass(frozen=True)
class BatchRest:
    """Calls to the local Batch at an address."""

    address: str

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def job(self, name: str) -> dict[str, Any]:
        """A job as Batch holds it, by its full name."""
        return dict(self._call("GET", name))

    def state(self, name: str) -> str:
        """A job's state, by its full name."""
        return str(self.job(name)["status"]["state"])

    def cancel(self, name: str) -> None:
        """Cancel a job."""
        self._call("POST", f"{name}:cancel", {})

    def named(self, prefix: str) -> list[dict[str, Any]]:
        """All jobs whose id begins so."""
        found = self._call("GET", f"{PARENT}/jobs?pageSize=1000").get("jobs", [])
        return [job for job in found if job["name"].rpartition("/")[2].startswith(prefix)]

    def siblings(self, name: str) -> list[str]:
        """The ids of all jobs that were made for the same run of the same Dag, oldest first."""
        labels = self.job(name)["labels"]
        same = {key: labels[key] for key in ("airflow-dag-id", "airflow-run-id", "airflow-task-id")}
        found = self._call("GET", f"{PARENT}/jobs?pageSize=1000")["jobs"]
        mine = [job for job in found if same.items() <= job.get("labels", {}).items()]
        return [job["name"].rpartition("/")[2] for job in sorted(mine, key=lambda job: str(job["createTime"]))]
