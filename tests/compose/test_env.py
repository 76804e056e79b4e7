"""``make env``: what it writes, and what it leaves alone."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from compose_stack import TOP
from making_env import make_env, secrets_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


class TestNewFile:
    def test_it_is_for_its_owner_only_whatever_the_umask(self, path: Path) -> None:
        before = os.umask(0)
        try:
            done = make_env(path)
        finally:
            os.umask(before)
        assert (done.returncode, mode(path)) == (0, 0o600)

    def test_its_values_are_long_different_and_new_each_time(self, path: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        make_env(path)
        make_env(other)
        values = [*secrets_of(path).values(), *secrets_of(other).values()]
        assert len(set(values)) == len(values) == 10
        assert min(map(len, values)) >= 24

    def test_each_value_is_what_its_reader_wants(self, path: Path) -> None:
        from cryptography.fernet import Fernet

        make_env(path)
        values = secrets_of(path)
        Fernet(values["AIRFLOW_FERNET_KEY"])
        assert len(base64.urlsafe_b64decode(values["AIRFLOW_FERNET_KEY"])) == 32
        assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
        plain = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
        assert set(values["POSTGRES_PASSWORD"]) <= plain  # stands in a URL

    def test_it_is_said_without_the_values(self, path: Path) -> None:
        done = make_env(path)
        assert str(path) in done.stdout
        assert [value for value in secrets_of(path).values() if value in done.stdout + done.stderr] == []


class TestExistingFile:
    def test_a_complete_one_is_not_touched(self, path: Path) -> None:
        make_env(path)
        before, when = path.read_bytes(), path.stat().st_mtime_ns
        done = make_env(path)
        assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, when)
        assert "left as it is" in done.stdout

    def test_missing_keys_are_added_and_named_and_all_else_stays(self, path: Path) -> None:
        mine = "# mine\nAIRFLOW_PORT=9090\nexport AIRFLOW_JWT_SECRET = 'of my own'\nPOSTGRES_PASSWORD=hand-made"
        path.write_text(mine)  # without a newline at its end
        path.chmod(0o600)
        done = make_env(path)
        assert done.returncode == 0
        assert path.read_text().startswith(f"{mine}\n")
        added = path.read_text().removeprefix(mine)
        names = [line.partition("=")[0] for line in added.split()]
        assert names == ["AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET_KEY", "AIRFLOW_ADMIN_PASSWORD"]
        assert f"lacked {', '.join(names)}: added" in done.stdout

    def test_a_key_that_is_commented_out_is_missing(self, path: Path) -> None:
        path.write_text("#POSTGRES_PASSWORD=old\n")
        path.chmod(0o600)
        make_env(path)
        assert len(secrets_of(path)["POSTGRES_PASSWORD"]) > 24

    @pytest.mark.parametrize("empty", ["", "''", '""', "  "])
    def test_a_key_without_a_value_is_refused_with_the_way_out(self, path: Path, empty: str) -> None:
        path.write_text(f"POSTGRES_PASSWORD={empty}\n")
        path.chmod(0o600)
        done = make_env(path)
        assert done.returncode == 1
        assert "POSTGRES_PASSWORD" in done.stderr
        assert "Remove the line" in done.stderr
        assert path.read_text() == f"POSTGRES_PASSWORD={empty}\n"

    def test_one_that_others_may_read_is_said(self, path: Path) -> None:
        make_env(path)
        path.chmod(0o644)
        done = make_env(path)
        assert done.returncode == 1
        assert f"chmod 600 {path}" in done.stderr
        assert mode(path) == 0o644

    def test_one_that_cannot_be_written_is_said_without_a_stack_trace(self, path: Path) -> None:
        path.mkdir()
        done = make_env(path)
        assert done.returncode == 1
        assert done.stderr.startswith("env: ")
        assert len(done.stderr.splitlines()) == 1


class TestMakeTarget:
    def test_it_works_before_anything_is_set_up(self, tmp_path: Path) -> None:
        (tmp_path / "scripts").mkdir()
        shutil.copy(TOP / "Makefile", tmp_path)
        shutil.copy(TOP / "scripts" / "env.py", tmp_path / "scripts")
        done = subprocess.run(["make", "env"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "Makefile", "scripts"]
