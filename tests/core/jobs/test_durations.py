from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import duration_pb2
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.jobs import durations


class TestReadingDurations:
    @pytest.mark.parametrize(
        ("value", "canonical"),
        [
            ("3600s", "3600s"),
            ("1.5s", "1.5s"),
            ("1.500s", "1.5s"),
            (".5s", "0.5s"),
            ("0s", "0s"),
            (" 60 s ", "60s"),
            ("60", "60s"),
            (60, "60s"),
            (60.0, "60s"),
            (0.1, "0.1s"),
            ("1e3", "1000s"),
            (1e7, "10000000s"),
            (Decimal("2.25"), "2.25s"),
            (timedelta(hours=1, microseconds=1), "3600.000001s"),
            ("1h", "3600s"),
            ("90m", "5400s"),
            ("90 min", "5400s"),
            ("1h30m", "5400s"),
            ("1d 2h 3m 4.5s", "93784.5s"),
            ("2 hours", "7200s"),
            ("1 day", "86400s"),
            ({"seconds": 60}, "60s"),
            ({"seconds": "60", "nanos": 500_000_000}, "60.5s"),
            (duration_pb2.Duration(seconds=1, nanos=1), "1.000000001s"),
        ],
    )
    def test_what_people_write_is_read(self, value: Any, canonical: str) -> None:
        assert durations.written(durations.seconds(value)) == canonical

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "s",
            "soon",
            "1:30",
            "12:30:00",
            "1w",
            "h",
            "30m1h",
            "--1s",
            "nan",
            "infs",
            "1_000s",
            True,
            None,
            [],
            {},
            float("nan"),
            float("inf"),
            {"minutes": 1},
            "1..5s",
            "1.5.5h",
            "٣s",
            "1h٣m",
            "3\N{LATIN SMALL LETTER LONG S}",
            object(),
        ],
    )
    def test_what_is_none_is_refused_with_the_right_form(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r'write seconds with an s, such as "3600s"'):
            durations.seconds(value)

    @pytest.mark.parametrize(
        ("value", "words"), [(-1, "negative"), ("-5s", "negative"), (1e12, "longer than protobuf")]
    )
    def test_what_protobuf_cannot_hold_is_refused(self, value: Any, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            durations.seconds(value)

    @given(st.integers(0, 315_576_000_000), st.integers(0, 999_999_999))
    def test_nothing_is_lost_to_the_nanosecond(self, seconds: int, nanos: int) -> None:
        exact = duration_pb2.Duration(seconds=seconds, nanos=0 if seconds == 315_576_000_000 else nanos)
        back = duration_pb2.Duration()
        back.FromJsonString(durations.written(durations.seconds(exact)))
        assert back == exact

    @given(st.text(alphabet="0123456789.hmsd e-", max_size=12))
    def test_any_text_is_a_duration_or_refused_with_words(self, text: str) -> None:
        try:
            assert durations.seconds(text) >= 0
        except ValueError as error:
            assert len(str(error)) > 10
