"""Bytes for people."""

from __future__ import annotations

import pytest

from airflow_batchstream.core.sizes import size


class TestASize:
    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (50_000_000, "50.0 MB"),
            (10**10, "10.0 GB"),
            (1_234 * 10**12, "1,234.0 TB"),
        ],
    )
    def test_has_one_decimal_in_the_unit_that_fits(self, count: int, text: str) -> None:
        assert size(count) == text
