"""Jobs written short, and what the rules find in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.rules import check
from airflow_batchstream.core.jobs.schema import conform

DATA = Path(__file__).parents[1] / "data" / "jobs"
IMAGE = "us-docker.pkg.dev/my-project/repo/image:1.0"
TASK = "job.taskGroups[0].taskSpec"
CONTAINER = f"{TASK}.runnables[0].container"
INSTANCE = "job.allocationPolicy.instances[0]"


def job(*runnables: dict[str, Any], task: Any = None, group: Any = None, **more: Any) -> dict[str, Any]:
    runs = list(runnables) or [{"container": {"imageUri": IMAGE}}]
    return {"taskGroups": [{"taskSpec": {"runnables": runs} | (task or {})} | (group or {})], **more}


def container(**fields: Any) -> dict[str, Any]:
    return {"container": {"imageUri": IMAGE} | fields}


def findings(written: Any, **how: Any) -> list[Finding]:
    spec, found = conform(written, templated_ok=how.get("templated_ok", False))
    assert found == []
    asked: dict[str, Any] = {"project_id": "my-project", "region": "us-central1", "job_id": None, "streaming": True}
    found = check(spec, **(asked | how))
    assert all(f.says and f.remedy for f in found)
    return found


def refused(written: Any, **how: Any) -> dict[str, str]:
    """Only broken rules, and no warnings beside them."""
    found = findings(written, **how)
    assert {f.verdict for f in found} <= {Verdict.BROKEN}
    return {f.path: str(f) for f in found}


def warned(written: Any, **how: Any) -> dict[str, str]:
    found = findings(written, **how)
    assert {f.verdict for f in found} <= {Verdict.WARNING}
    return {f.path: str(f) for f in found}
