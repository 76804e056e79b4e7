"""The package as others get it: what Airflow's provider manager makes of it, and what the wheel holds."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import airflow_batchstream
from airflow_batchstream.provider import get_provider_info

TOP = Path(__file__).parent.parent

PROVIDERS = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
ours = manager.providers["airflow-batchstream"]
print(json.dumps({
    "version": ours.version,
    "data": dict(ours.data),
    "links": [name for name in manager.extra_links_class_names if "batchstream" in name],
}))
"""


def last_line(script: str, **env: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | env, cwd="/", capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "batchstream" not in run.stderr, run.stderr  # the provider manager warns about what it does not accept
    return run.stdout.splitlines()[-1]


class TestProviderMetadata:
    def test_airflow_accepts_it(self) -> None:
        seen = json.loads(last_line(PROVIDERS))
        assert seen["version"] == airflow_batchstream.__version__
        assert sorted(seen["links"]) == sorted(get_provider_info()["extra-links"])
        assert seen["data"]["operators"] == get_provider_info()["operators"]

    def test_it_has_no_key_that_airflow_does_not_know(self) -> None:
        import airflow

        schema = json.loads((Path(str(airflow.__file__)).parent / "provider_info.schema.json").read_text())
        assert set(get_provider_info()) - {"versions"} <= set(schema["properties"])

    def test_it_names_every_module_with_operators(self) -> None:
        from airflow.sdk import BaseOperator

        package = importlib.import_module("airflow_batchstream.operators")
        found = [info.name for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
        with_operators = [
            name
            for name in found
            if any(
                isinstance(value, type) and issubclass(value, BaseOperator) and value.__module__ == name
                for value in vars(importlib.import_module(name)).values()
            )
        ]
        assert sorted(with_operators) == sorted(get_provider_info()["operators"][0]["python-modules"])

    def test_it_names_every_link_of_an_operator(self) -> None:
        from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator

        links = {
            f"{type(link).__module__}.{type(link).__name__}"
            for link in CloudBatchStreamingJobOperator.operator_extra_links
        }
        assert links == set(get_provider_info()["extra-links"])

    def test_asking_for_it_imports_no_airflow(self) -> None:
        script = "import sys, airflow_batchstream.provider as p; p.get_provider_info(); print('airflow' in sys.modules)"
        assert last_line(script) == "False"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = out.glob("*.whl")
    return found


class TestWheel:
    def test_it_holds_every_file_of_the_package_and_nothing_else(self, wheel: Path) -> None:
        here = {
            str(path.relative_to(TOP))
            for path in (TOP / "airflow_batchstream").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        assert packed == here
        assert {"airflow_batchstream/py.typed", "airflow_batchstream/core/jobs/batch_v1.json"} <= packed

    def test_it_brings_the_licence_the_command_and_the_provider(self, wheel: Path) -> None:
        files = {name.split("/", 1)[1]: name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" in name}
        assert "licenses/LICENSE" in files
        points = zipfile.ZipFile(wheel).read(files["entry_points.txt"]).decode()
        assert "batchstream = airflow_batchstream.cli:main" in points
        assert "provider_info = airflow_batchstream.provider:get_provider_info" in points

    def test_what_it_holds_works_without_the_repository(self, wheel: Path, tmp_path: Path) -> None:
        zipfile.ZipFile(wheel).extractall(tmp_path)
        script = """
import airflow_batchstream
from airflow_batchstream.core.jobs.schema import conform
spec, findings = conform({"task_groups": [{"taskCount": "1"}]})
print(airflow_batchstream.__file__, spec, findings)
"""
        words = last_line(script, PYTHONPATH=str(tmp_path))
        assert words.startswith(str(tmp_path))
        assert "taskGroups" in words
