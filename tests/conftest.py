"""What every test has: an Airflow home of its own, nothing of the caller's environment, and no silent skips in CI."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

# Importing Airflow makes files where AIRFLOW_HOME says: never in the home of whoever runs the tests.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="batchstream-tests-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
for _name in (
    "BATCH_EMULATOR_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "AIRFLOW__CORE__DAGS_FOLDER",
):
    os.environ.pop(_name, None)

pytest_plugins = ["airflow_fixtures"]  # of tests/support: one Airflow for all tests that need a whole one

# How fast examples come tells of what else the machine does, not of the code.
settings.register_profile("busy", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

NOT_APPLICABLE = "not applicable:"
"""How the reason of a skip begins that no machine can avoid (`not applicable: Airflow 3.1 has no such call`)."""


def pytest_unconfigure() -> None:
    """Remove the Airflow home."""
    shutil.rmtree(_AIRFLOW_HOME, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """One of pytest-xdist's processes runs all tests with a whole Airflow, one after the other, and first: they take
    longest, and two Airflows at once would be too much for a small machine. Others go by their module.

    Its own groups (``loadgroup``) do not work with pytest 9.2, whose tests no longer take another id.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByHarness(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            whole = nodeid.startswith(("tests/airflow/", "tests/compose/test_stack", "tests/ui/"))
            return "airflow" if whole else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # by number of tests, which says nothing of their time
    return ByHarness(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services of docker-compose.yaml first: they have ended when the Airflow that all others share is started."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/compose/test_stack"))


def _skips_are_failures() -> bool:
    return os.environ.get("BATCHSTREAM_CI") == "1"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure: what CI is meant to have must be there."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith(NOT_APPLICABLE):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, which has all that tests need: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI (BATCHSTREAM_CI=1) a skipped test is a failed one."""
    report = yield
    if _skips_are_failures():
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    if _skips_are_failures():
        _refuse_skip(report)
    return report
