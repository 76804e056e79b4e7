"""Terminals, pipes and disks that do not take what a command prints: its exit code says the same all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_images as make
from writable_registry import WritableRegistry

NAME = "us-docker.pkg.dev/acme/batch/train"
PLACE = ("--region", "us-central1")
COMMANDS = {"script": [str(Path(sys.executable).parent / "batchstream")], "module": ["-m", "airflow_batchstream"]}
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRegistry]:
    with WritableRegistry(tmp_path_factory.mktemp("registry")) as one:
        steps = [{"created_by": "RUN first"}, {"created_by": f"RUN {'long ' * 100}"}]
        one.put(NAME, make.image([make.tar({"a": b"1"}), make.tar({})], history=steps), "broken")
        yield one


def run(at: str, *words: str, how: str = "script", **more: str) -> subprocess.CompletedProcess[bytes]:
    command = [*([sys.executable] if how == "module" else []), *COMMANDS[how], *words]
    env = os.environ | {"BATCH_EMULATOR_HOST": at} | more
    return subprocess.run(command, env=env, capture_output=True, check=False)


class TestATerminalThatLacksACharacter:
    @pytest.mark.parametrize("encoding", ["iso-8859-1", "koi8-r", "shift_jis", "ascii", "utf-8"])
    def test_gets_the_answer_of_a_repair_that_was_written(self, registry: WritableRegistry, encoding: str) -> None:
        done = run(registry.address, "repair", f"{NAME}:broken", f"{NAME}:{encoding}", PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.endswith(f"@{registry.tags(NAME)[encoding]}\n".encode())

    @pytest.mark.parametrize("how", COMMANDS)
    def test_gets_the_answer_of_a_scan(self, registry: WritableRegistry, how: str) -> None:
        done = run(registry.address, "scan", f"{NAME}:broken", *PLACE, how=how, PYTHONIOENCODING="iso-8859-1")
        assert (done.returncode, done.stderr) == (1, b"")
        assert b"?" in done.stdout
        assert b"does not stream: 1 rule is broken." in done.stdout


@full
class TestErrorsThatCannotBePrinted:
    @pytest.mark.parametrize(
        ("at", "words", "code"),
        [
            ("", ("scan", "A B", *PLACE), 2),
            ("", ("repair", f"{NAME}:1", f"{NAME}:1"), 2),
            ("127.0.0.1:1", ("scan", f"{NAME}:1", *PLACE), 3),
        ],
    )
    def test_leave_the_exit_code_as_it_is(self, at: str, words: tuple[str, ...], code: int) -> None:
        command, env = [*COMMANDS["script"], *words], os.environ | {"BATCH_EMULATOR_HOST": at}
        with Path("/dev/full").open("w") as disk:
            done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=disk, check=False)
        assert (done.returncode, done.stdout) == (code, b"")
