"""Instants for machines and for people."""

from __future__ import annotations

import pytest

from airflow_batchstream.core.jobs.times import clock, iso, rfc3339, span


class TestTimes:
    def test_nanoseconds_are_exact(self) -> None:
        assert rfc3339(1_700_000_000_999_999_999) == "2023-11-14T22:13:20.999999999Z"

    def test_the_epoch_and_before_are_no_special_case(self) -> None:
        assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
        assert rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"

    def test_what_is_not_known_stays_unknown(self) -> None:
        assert iso(None) is None

    def test_iso_has_milliseconds(self) -> None:
        assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"

    def test_a_clock_shows_utc(self) -> None:
        assert clock(1_700_000_000) == "22:13:20"

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (-1, "0.0 s"),
            (0.44, "0.4 s"),
            (9.96, "10.0 s"),
            (59.4, "59 s"),
            (59.6, "1 min 0 s"),
            (192, "3 min 12 s"),
            (7500, "2 h 5 min"),
            (90_000, "1 d 1 h"),
        ],
    )
    def test_a_span_is_told_in_its_two_largest_units(self, seconds: float, words: str) -> None:
        assert span(seconds) == words
