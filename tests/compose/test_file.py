"""docker-compose.yaml: Compose accepts it, it holds no secrets, and it says what the rest of the project says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_stack import FILE, TOP, compose, config
from making_env import make_env, secrets_of

from airflow_batchstream.connection import locate
from airflow_batchstream.emulator.server import from_a_web_page

SECRETS = (
    "POSTGRES_PASSWORD",
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_ADMIN_PASSWORD",
)
needs_compose = pytest.mark.skipif(
    not compose(), reason="no docker-compose on PATH (on Debian: apt install docker-compose)"
)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """As the file has them, with YAML's merges done and nothing filled in."""
    return dict(yaml.safe_load(FILE.read_text())["services"])


def instructions(word: str) -> list[str]:
    """The Dockerfile's, with lines that go on closed up."""
    text = (TOP / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.removeprefix(word).strip() for line in text.splitlines() if line.startswith(f"{word} ")]


def copied() -> list[str]:
    """What the Dockerfile copies."""
    words = [line.split() for line in instructions("COPY")]
    return [word for line in words for word in line[:-1] if not word.startswith("--")]


@needs_compose
class TestCompose:
    def test_it_accepts_the_file_with_what_make_env_wrote(self, tmp_path: Path) -> None:
        make_env(tmp_path / ".env")
        done = config(tmp_path)
        assert done.returncode == 0, done.stderr
        assert set(yaml.safe_load(done.stdout)["services"]) == set(yaml.safe_load(FILE.read_text())["services"])

    def test_without_it_the_refusal_says_what_to_do(self, tmp_path: Path) -> None:
        done = config(tmp_path)
        assert done.returncode != 0
        assert "run make env" in done.stderr

    @pytest.mark.parametrize("name", SECRETS)
    @pytest.mark.parametrize("instead", ["", "{}="], ids=["missing", "empty"])
    def test_no_secret_can_be_left_out(self, tmp_path: Path, name: str, instead: str) -> None:
        path = tmp_path / ".env"
        make_env(path)
        path.write_text(re.sub(rf"^{name}=.*$", instead.format(name), path.read_text(), flags=re.MULTILINE))
        done = config(tmp_path)
        assert done.returncode != 0
        assert name in done.stderr
        assert "run make env" in done.stderr

    def test_the_port_can_be_chosen_and_stays_on_this_machine(self, tmp_path: Path) -> None:
        make_env(tmp_path / ".env")
        done = config(tmp_path, AIRFLOW_PORT="9090")
        assert "9090" in done.stdout
        assert "127.0.0.1" in json.dumps(yaml.safe_load(done.stdout)["services"]["api-server"]["ports"])


class TestSecrets:
    def test_they_come_from_the_env_file_alone_and_none_has_a_default(self) -> None:
        used = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", FILE.read_text())
        assert {name for name, _ in used} == {*SECRETS, "AIRFLOW_PORT"}
        assert [name for name, rest in used if name in SECRETS and not re.fullmatch(r":\?.*run make env", rest)] == []

    def test_make_env_makes_those_and_no_others(self, tmp_path: Path) -> None:
        make_env(tmp_path / ".env")
        assert sorted(secrets_of(tmp_path / ".env")) == sorted(SECRETS)

    def test_neither_git_nor_the_image_takes_the_file(self) -> None:
        assert ".env" in (TOP / ".gitignore").read_text().splitlines()
        lines = (TOP / ".dockerignore").read_text().splitlines()
        assert "*" in lines
        assert [line for line in lines if line.startswith("!") and "env" in line] == []

    def test_where_jobs_run_there_are_none(self, services: dict[str, Any]) -> None:
        for name in ("local-batch", "example-image"):
            assert not any(secret in json.dumps(services[name]) for secret in SECRETS)
            assert not set(services[name]["networks"]) & set(services["postgres"]["networks"])
            assert services[name]["cap_drop"] == ["ALL"]
            assert "no-new-privileges:true" in services[name]["security_opt"]
            assert "privileged" not in services[name]
        assert "docker.sock" not in json.dumps(services)


class TestServices:
    def test_only_the_api_server_has_a_port_and_only_on_this_machine(self, services: dict[str, Any]) -> None:
        ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
        assert list(ports) == ["api-server"]
        assert all(port.startswith("127.0.0.1:") for port in ports["api-server"])

    def test_who_waits_for_health_waits_for_one_that_is_checked(self, services: dict[str, Any]) -> None:
        waited = {
            (other, wanted["condition"])
            for service in services.values()
            for other, wanted in service.get("depends_on", {}).items()
        }
        assert waited
        for other, condition in waited:
            assert ("healthcheck" in services[other]) == (condition == "service_healthy")

    def test_who_depends_on_another_reaches_it(self, services: dict[str, Any]) -> None:
        for service in services.values():
            for other in service.get("depends_on", {}):
                assert set(service["networks"]) & set(services[other]["networks"]), other
        for name in ("scheduler", "triggerer"):  # where tasks and triggers run
            assert "local-batch" in services[name]["depends_on"]

    def test_every_airflow_has_the_same_settings(self, services: dict[str, Any]) -> None:
        def airflow(name: str) -> dict[str, str]:
            return {
                k: v for k, v in services[name]["environment"].items() if "SIMPLE_AUTH" not in k and "ADMIN" not in k
            }

        names = ("init", "api-server", "scheduler", "dag-processor", "triggerer")
        assert all(airflow(name) == airflow("init") for name in names)

    def test_the_local_batch_answers_under_its_name_in_the_network_and_to_no_web_page(
        self, services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        address = services["scheduler"]["environment"]["BATCH_EMULATOR_HOST"]
        name, _, port = address.partition(":")
        assert name in services
        assert f"--port={port}" in services[name]["command"]
        assert "--host=0.0.0.0" in services[name]["command"]
        host = (b"host", address.encode())
        assert from_a_web_page({"type": "http", "headers": [host]}, "0.0.0.0") == ""
        assert from_a_web_page({"type": "http", "headers": [host, (b"origin", b"http://a.example")]}, "0.0.0.0")
        monkeypatch.setenv("BATCH_EMULATOR_HOST", address)
        assert locate("google_cloud_default")[0].emulator == address

    def test_the_image_that_the_dags_run_is_the_one_that_is_made(self, services: dict[str, Any]) -> None:
        image = services["scheduler"]["environment"]["BATCHSTREAM_IMAGE"]
        assert f"--tag={image}" in services["example-image"]["command"]
        for path in (TOP / "dags").glob("*.py"):
            assert "BATCHSTREAM_IMAGE" in path.read_text(), path

    def test_the_bucket_of_the_dags_is_a_folder_of_the_local_batch(self, services: dict[str, Any]) -> None:
        url = services["scheduler"]["environment"]["BATCHSTREAM_BUCKET_URL"]
        state = next(w for w in services["local-batch"]["command"] if w.startswith("--state-dir=")).partition("=")[2]
        assert url.startswith(f"file://{state}/buckets/")
        for name in ("scheduler", "local-batch"):
            assert f"buckets:{state}/buckets" in services[name]["volumes"]


class TestImage:
    def test_airflow_is_the_one_that_is_tested(self) -> None:
        (base,) = instructions("FROM")
        pins = (TOP / "requirements" / "airflow-3.3.txt").read_text()
        tag = re.fullmatch(r"apache/airflow:slim-([\d.]+)-python3\.(\d+)", base)
        assert tag
        assert f"\napache-airflow=={tag[1]}\n" in pins
        assert tag[2] in ("11", "12", "13")

    def test_no_other_image_is_without_its_version(self, services: dict[str, Any]) -> None:
        pulled = {service["image"] for service in services.values() if "build" not in service}
        assert pulled
        assert all(re.search(r":\d+\.\d+", image) for image in pulled)

    def test_everything_that_it_copies_is_there_and_reaches_the_builder(self) -> None:
        lets_through = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
        assert copied()
        for source in copied():
            assert (TOP / source).exists(), source
            assert source.partition("/")[0] in lets_through, source

    def test_what_it_copies_is_enough_to_build_the_package(self, tmp_path: Path) -> None:
        for source in copied():
            if source.startswith("requirements/"):
                continue
            (shutil.copytree if (TOP / source).is_dir() else shutil.copy)(TOP / source, tmp_path / source)
        built = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stdout + built.stderr
        assert list((tmp_path / "dist").glob("*.whl"))
