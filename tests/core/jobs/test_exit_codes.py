"""What exit codes mean."""

from __future__ import annotations

import pytest

from airflow_batchstream.core.jobs.exit_codes import Whose, meaning


class TestBatchsOwnCodes:
    @pytest.mark.parametrize("code", [50001, 50002, 50003, 50004, 50006])
    def test_of_infrastructure_say_that_a_retry_can_help(self, code: int) -> None:
        assert meaning(code).whose is Whose.INFRASTRUCTURE
        assert "retry can help" in meaning(code).hint

    def test_50005_is_the_programs_own_time(self) -> None:
        assert meaning(50005).whose is Whose.PROGRAM
        assert "maxRunDuration" in meaning(50005).hint

    def test_50000_is_told_as_unknown(self) -> None:
        assert meaning(50000).whose is Whose.UNKNOWN


class TestTheProgramsCodes:
    @pytest.mark.parametrize(("code", "words"), [(126, "cannot be executed"), (127, "not found"), (125, "started")])
    def test_of_shell_and_runtime_are_explained(self, code: int, words: str) -> None:
        assert words in meaning(code).says
        assert meaning(code).hint

    @pytest.mark.parametrize(("code", "name"), [(130, "SIGINT"), (134, "SIGABRT"), (137, "SIGKILL"), (139, "SIGSEGV")])
    def test_of_signals_are_named(self, code: int, name: str) -> None:
        assert name in meaning(code).says

    def test_of_signals_without_a_name_are_numbered(self) -> None:
        assert meaning(128 + 40).says == "ended by signal 40"

    @pytest.mark.parametrize("code", [1, 3, 42, 128, 255, -1])
    def test_of_its_own_are_its_own(self, code: int) -> None:
        assert meaning(code).says == "the program's own exit code"
        assert meaning(code).whose is Whose.PROGRAM
