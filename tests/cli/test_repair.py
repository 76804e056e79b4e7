"""``batchstream repair`` as a process: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_images as make
from writable_registry import WritableRegistry, refuse

NAME = "us-docker.pkg.dev/acme/batch/train"
A, EMPTY = make.tar({"a": b"1"}), make.tar({})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        one.put(NAME, make.image([A, EMPTY]), "broken")
        one.put(NAME, make.image([A]), "whole")
        one.put(NAME, make.image([EMPTY]), "hopeless")
        yield one


def run(at: str, *words: str, columns: int = 100, **variables: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"BATCH_EMULATOR_HOST": at, "COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1"}
    env |= variables
    command = [Path(sys.executable).parent / "batchstream", "repair", *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


class TestTheCommand:
    def test_repairs_and_prints_what_was_done_and_what_to_run(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:broken", f"{NAME}:1")
        assert done.returncode == 0, done.stderr
        digest = registry.tags(NAME)["1"]
        assert "1 empty layer dropped" in done.stdout
        assert done.stdout.endswith(f"Run        {NAME}\n           @{digest}\n")
        assert done.stderr == ""

    def test_prints_json(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:broken", f"{NAME}:2", "--json", "--dry-run")
        assert json.loads(done.stdout)["dry_run"] is True
        assert "2" not in registry.tags(NAME)

    def test_ends_with_0_where_nothing_is_to_be_repaired(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:whole", f"{NAME}:3")
        assert (done.returncode, "needs no repair" in done.stdout) == (0, True)

    def test_ends_with_1_where_it_cannot_be_repaired(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:hopeless", f"{NAME}:4")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: {NAME}:hopeless cannot be repaired: all its layers are empty")

    def test_ends_with_1_where_the_tag_is_taken(self, registry: WritableRegistry) -> None:
        done = run(registry.address, f"{NAME}:broken", f"{NAME}:whole")
        assert done.returncode == 1
        assert "--move-tag" in done.stderr

    @pytest.mark.parametrize("words", [(), (f"{NAME}:1",), (f"{NAME}:1", f"{NAME}:1"), (f"{NAME}:1", "A B")])
    def test_ends_with_2_where_it_is_used_wrongly(self, registry: WritableRegistry, words: tuple[str, ...]) -> None:
        assert run(registry.address, *words).returncode == 2

    def test_ends_with_3_where_the_registry_is_not_there(self) -> None:
        done = run("127.0.0.1:1", f"{NAME}:1", f"{NAME}:2")
        assert done.returncode == 3
        assert "No local Batch answers at 127.0.0.1:1" in done.stderr

    @pytest.mark.parametrize("key", ["", "no.json", "key.json"])
    def test_ends_with_3_and_says_how_to_log_in_where_there_are_no_credentials(self, tmp_path: Path, key: str) -> None:
        (tmp_path / "key.json").write_text("{}")
        alone = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"), "NO_GCE_CHECK": "true"}
        alone["GOOGLE_APPLICATION_CREDENTIALS"] = str(tmp_path / key) if key else ""
        done = run("", f"{NAME}:1", f"{NAME}:2", **alone)
        assert (done.returncode, done.stdout) == (3, "")
        assert "this machine has no Google credentials (" in done.stderr
        assert "Sign in with gcloud auth application-default login" in done.stderr
        assert "connection" not in done.stderr

    def test_ends_with_3_where_a_layer_could_not_be_told(self, registry: WritableRegistry) -> None:
        zeros = bytes(10_000_000)
        registry.put(NAME, make.image([A, EMPTY, zeros]), "closed")
        registry.faults.append(refuse("GET", make.sha256(make.gz(zeros)), 403))
        done = run(registry.address, f"{NAME}:closed", f"{NAME}:5")
        registry.faults.clear()
        assert (done.returncode, done.stdout) == (3, "")
        assert "could not be told, so nothing was repaired or written" in done.stderr
        assert "5" not in registry.tags(NAME)

    def test_has_an_example_that_can_be_copied_from_80_columns(self) -> None:
        lines = [line.strip() for line in run("", "--help", columns=80).stdout.splitlines()]
        at = lines.index("batchstream repair us-docker.pkg.dev/acme/batch/train:1.4 \\")
        assert lines[at + 1] == "us-docker.pkg.dev/acme/batch/train:1.4-r1"
        assert max(map(len, lines)) <= 80

    def test_explains_itself_with_an_example(self) -> None:
        done = run("", "--help")
        assert done.returncode == 0
        text = " ".join(done.stdout.split())
        assert "Example: batchstream repair us-docker.pkg.dev/acme/batch/train:1.4 \\ us-docker.pkg.dev/" in text
        assert "Exit codes: 0 repaired" in text
        assert max(map(len, done.stdout.splitlines())) <= 100

    def test_loads_neither_airflow_nor_google_s_clients(self) -> None:
        code = (
            "import sys; before = set(sys.modules); import airflow_batchstream.cli.repair, "
            "airflow_batchstream.cli.credentials, airflow_batchstream.services.repair, "
            "airflow_batchstream.clients.registry_write; "
            "print([m for m in set(sys.modules) - before if m.split('.')[0] in ('airflow', 'grpc') "
            "or m.startswith('google.')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
