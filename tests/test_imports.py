"""A Dag file is parsed again and again: what it imports from here costs no more than Airflow itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
HEAVY = (
    *("grpc", "pandas", "google.cloud", "google.api_core", "google.auth", "httpx2"),
    *("airflow.providers.google.cloud", "airflow.providers.google.common"),
)

# Airflow itself loads some of these, and a namespace package may put google.cloud into every interpreter: so only what
# our modules add is counted. One process, one import after the other, so that the module at fault is named.
SCRIPT = """
import importlib, json, pkgutil, runpy, sys
import airflow.sdk

heavy, late = json.loads(sys.argv[1]), ("clients", "emulator", "cli")

def loaded():
    return {m for m in sys.modules if any(m == h or m.startswith(h + ".") for h in heavy)}

def names():
    import airflow_batchstream
    for found in pkgutil.walk_packages(airflow_batchstream.__path__, "airflow_batchstream."):
        if found.name.split(".")[1] not in late:
            yield found.name

before, added, seen = loaded(), {}, []
def note(name):
    seen.append(name)
    if new := loaded() - before:
        added[name] = sorted(new)
        before.update(new)

for name in names():
    importlib.import_module(name)
    note(name)
for path in sys.argv[2:]:
    runpy.run_path(path)
    note(path)
print(json.dumps({"added": added, "seen": seen}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, object]:
    dags = sorted(str(path) for path in (TOP / "dags").glob("*.py"))
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(HEAVY), *dags], capture_output=True, text=True, check=False, cwd=TOP
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


class TestWhatADagFileImports:
    def test_adds_no_google_client_no_grpc_no_pandas(self, imported: dict[str, object]) -> None:
        assert imported["added"] == {}

    def test_covers_the_operators_and_the_example_dags(self, imported: dict[str, object]) -> None:
        seen = imported["seen"]
        assert isinstance(seen, list)
        assert "airflow_batchstream.operators.jobs" in seen
        assert "airflow_batchstream.links" in seen
        assert sum(str(name).endswith(".py") for name in seen) >= 2

    def test_the_package_itself_imports_nothing(self) -> None:
        script = "import sys; before = set(sys.modules); import airflow_batchstream; print(set(sys.modules) - before)"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert run.stdout.strip() == "{'airflow_batchstream'}"
