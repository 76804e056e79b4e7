"""Which runtime a machine gets, tried on machines that forbid some: made from this one by giving up rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.runtimes.namespace import NamespaceRuntime
from airflow_batchstream.emulator.runtimes.select import NoRuntimeError, choose, order

FORBIDDEN = 'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
"""In a user namespace of its own: no further ones, and no rights to mount. Not the machine's own setting is changed."""


@pytest.fixture
def forbidding() -> list[str]:
    """A command in front of another, which then runs where user namespaces are forbidden."""
    words = ["unshare", "-Ur", "sh", "-c", FORBIDDEN, "sh"]
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("needs unshare and setpriv (util-linux)")
    done = subprocess.run([*words, "true"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"user namespaces cannot be forbidden here: {done.stderr.decode().strip()}")
    return words


class TestChoice:
    def test_the_one_that_is_taken_works(self) -> None:
        assert choose().runtime.probe() == ""

    def test_those_passed_over_have_their_reasons(self) -> None:
        choice = choose()
        names = [runtime.name for runtime in order()]
        assert [name for name, _ in choice.passed_over] == names[: names.index(choice.runtime.name)]
        assert all(why for _, why in choice.passed_over)

    def test_an_unknown_one_is_refused_with_the_names(self) -> None:
        with pytest.raises(NoRuntimeError, match="'docker': choose one of auto, bwrap, namespace, process"):
            choose("docker")

    def test_one_that_does_not_work_is_refused_with_its_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(NoRuntimeError, match="bwrap is not on the PATH"):
            choose("bwrap")

    def test_as_root_an_images_owners_are_worth_more_than_a_quick_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert [runtime.name for runtime in order()] == ["namespace", "bwrap", "process"]


class TestForbiddenUserNamespaces:
    def program(self, forbidding: list[str], text: str, **more: Any) -> str:
        command = [*forbidding, sys.executable, "-c", textwrap.dedent(text)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_a_plain_process_is_taken_and_the_reason_is_said(self, forbidding: list[str]) -> None:
        said = self.program(
            forbidding,
            """
            from airflow_batchstream.emulator.runtimes.select import choose
            choice = choose()
            print(choice.runtime.name)
            print("\\n".join(choice.says))
            """,
        )
        name, *lines = said.splitlines()
        assert name == "process"
        assert lines[0].startswith("WARNING: containers run as plain processes of this machine, without isolation")
        text = "\n".join(lines)
        assert "namespace does not work here: " in text
        assert "/proc/sys/user/max_user_namespaces is 0: no user namespaces are allowed" in text

    def test_the_whole_suite_of_control_passes_there(self, forbidding: list[str], tmp_path: Path) -> None:
        """With the runtimes that work there, which is the plain process."""
        suite = str(Path(__file__).with_name("test_control.py"))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-rs",
            "--basetemp",
            str(tmp_path / "t"),
        ]
        done = subprocess.run(
            [*forbidding, *command, suite, "-k", "process or bwrap-0 or namespace-0"],
            env=os.environ | {"BATCHSTREAM_CI": ""},  # here some runtimes are skipped on purpose
            capture_output=True, text=True, timeout=280, check=False, cwd=Path(__file__).parents[3],
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "no user namespaces are allowed" in done.stdout  # those that were skipped
        assert int(done.stdout.rpartition(" passed")[0].rpartition("\n")[2].split()[-1]) > 30


class TestNamespacesFallBack:
    def test_root_that_may_not_mount_takes_a_user_namespace(self) -> None:
        """As in a Docker container with user namespaces, but without CAP_SYS_ADMIN."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            pytest.skip("needs root and setpriv")
        text = """
            from airflow_batchstream.emulator.runtimes.namespace import NamespaceRuntime
            runtime = NamespaceRuntime()
            print(runtime.probe() or "works", runtime._userns)
        """
        command = [
            "setpriv",
            "--bounding-set=-sys_admin",
            "--inh-caps=-all",
            sys.executable,
            "-c",
            textwrap.dedent(text),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout == "works True\n", done.stderr

    def test_root_needs_none(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root")
        runtime = NamespaceRuntime()
        if runtime.probe():
            pytest.skip("this root may not make namespaces")
        assert runtime._userns is False
