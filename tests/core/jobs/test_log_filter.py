"""The filter of one ``entries.list``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_batchstream.core.jobs.log_filter import FILTER_CHARS, UID_CHARS, entries_filter, key
from airflow_batchstream.core.jobs.model import Line
from airflow_batchstream.core.jobs.read_settings import ReadSettings
from airflow_batchstream.core.jobs.times import ns

NS = 1_700_000_000_000_000_000


class TestFilter:
    def test_one_job_up_to_now(self) -> None:
        assert entries_filter("shop", ["u-1"], NS, NS + 1) == (
            'logName="projects/shop/logs/batch_task_logs" AND timestamp>="2023-11-14T22:13:20.000000000Z" '
            'AND receiveTimestamp>="2023-11-14T22:13:20.000000001Z" AND labels.job_uid="u-1"'
        )

    def test_several_jobs_are_joined_by_or_inside_parentheses(self) -> None:
        assert entries_filter("shop", ["u-1", "u-2"], NS, NS).endswith('labels.job_uid=("u-1" OR "u-2")')

    def test_an_upper_bound_is_not_included(self) -> None:
        assert 'AND receiveTimestamp<"2023-11-14T22:13:20.000000007Z" AND' in entries_filter(
            "shop", ["u"], NS, NS, NS + 7
        )

    def test_the_agents_log_is_asked_for_by_name(self) -> None:
        assert 'logName="projects/shop/logs/batch_agent_logs"' in entries_filter(
            "shop", ["u"], NS, NS, log="batch_agent_logs"
        )

    @pytest.mark.parametrize("severity", ["NOTICE", "WARNING", "ERROR", "EMERGENCY"])
    def test_a_floor_above_plain_stdout_is_filtered_by_cloud_logging(self, severity: str) -> None:
        assert entries_filter("shop", ["u"], NS, NS, severity=severity).endswith(f" AND severity>={severity}")

    @pytest.mark.parametrize("severity", ["", "DEFAULT", "DEBUG", "INFO"])
    def test_a_lower_one_is_not_since_stdout_may_rank_below_it(self, severity: str) -> None:
        assert "severity" not in entries_filter("shop", ["u"], NS, NS, severity=severity)

    def test_quotes_cannot_break_out(self) -> None:
        assert r'labels.job_uid="u\" OR \"\\"' in entries_filter("shop", ['u" OR "\\'], NS, NS)

    def test_as_many_uids_as_the_settings_allow_fit_the_longest_filter(self) -> None:
        uid = "j-" + "x" * 61 + "-" + "0123abcd" * 2
        count = int(ReadSettings().chars // (len(uid) + UID_CHARS))
        text = entries_filter("p" * 30 + ".example.com:" + "q" * 30, [uid] * count, NS, NS, NS, "EMERGENCY")
        assert count > 180
        assert len(text) <= FILTER_CHARS


class TestBounds:
    def test_seconds_are_rounded_down(self) -> None:
        assert ns(0.9999999999) == 999_999_999
        assert ns(-0.5) == -500_000_000


class TestKey:
    LINE = Line("u", "batch_task_logs", NS, NS, "a", "INFO", "", "x")

    def test_is_the_same_for_an_entry_received_twice(self) -> None:
        assert key(self.LINE) == key(replace(self.LINE, received_ns=NS + 1))

    @pytest.mark.parametrize("other", [{"log": "batch_agent_logs"}, {"at_ns": NS + 1}, {"insert_id": "b"}])
    def test_differs_by_log_time_and_insert_id(self, other: dict[str, object]) -> None:
        assert key(self.LINE) != key(replace(self.LINE, **other))  # type: ignore[arg-type]

    def test_takes_eight_bytes(self) -> None:
        assert 0 <= key(self.LINE) < 2**64
