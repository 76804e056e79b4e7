"""CI fails when something it is meant to have was skipped (tests/conftest.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

def test_lacks_a_program():
    pytest.skip("bwrap is not on PATH")

def test_has_no_meaning_here():
    pytest.skip("not applicable: Airflow 3.1 has no such call")

@pytest.mark.skipif(True, reason="no registry")
def test_lacks_a_server(): ...
"""
MODULE = """
import pytest
pytest.importorskip("no_such_module_of_ours")
"""


def outcome(folder: Path, ci: str) -> tuple[int, str]:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)],
        env=os.environ | {"BATCHSTREAM_CI": ci, "PYTHONPATH": str(Path(__file__).parent / "support")},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_some.py").write_text(TESTS)
    return tmp_path


class TestSkipsInContinuousIntegration:
    def test_a_missing_requirement_fails_the_run_but_what_cannot_apply_does_not(self, folder: Path) -> None:
        code, out = outcome(folder, "1")
        assert code == 1
        assert "1 failed, 1 skipped, 1 error" in out
        assert "bwrap is not on PATH" in out

    def test_a_module_that_skips_itself_fails_the_run(self, folder: Path) -> None:
        (folder / "test_module.py").write_text(MODULE)
        code, out = outcome(folder, "1")
        assert code != 0
        assert "no_such_module_of_ours" in out

    def test_elsewhere_a_skip_is_a_skip(self, folder: Path) -> None:
        code, out = outcome(folder, "")
        assert code == 0
        assert "3 skipped" in out
