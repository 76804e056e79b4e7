"""The filter language, without a server."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.emulator.log_filter import (
    MAX_CHARS,
    FilterError,
    bounds,
    matches,
    nanoseconds,
    parse,
    required,
)

ENTRY: dict[str, str | int] = {
    "logName": "projects/p/logs/batch_task_logs",
    "log_id": "batch_task_logs",
    "labels.job_uid": "j-1",
    "labels.Team": "Blue",
    "timestamp": 1_767_225_600_500_000_000,  # 2026-01-01T00:00:00.5Z
    "receiveTimestamp": 1_767_225_601_000_000_000,
    "severity": 500,
    "textPayload": 'He said "no" at 100 %',
    "resource.type": "batch.googleapis.com/Job",
}


def found(text: str) -> bool:
    return matches(parse(text), ENTRY.get)


class TestComparisons:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            'labels.job_uid="j-1"',
            "labels.job_uid=j-1",
            "labels.job_uid = 'j-1'",
            'labels."job_uid"="j-1"',
            'labels.job_uid=("a" OR "j-1")',
            'labels.job_uid=("a" OR ("b" OR "j-1"))',
            'labels.team="x" OR labels.Team="blue"',
            'labels.job_uid!="j-2"',
            'labels.job_uid:"J-"',
            "severity>=ERROR",
            "severity>=error",
            "severity=500",
            "severity<CRITICAL",
            'timestamp>="2026-01-01T00:00:00.5Z"',
            'timestamp>"2026-01-01T01:00:00.499999999+01:00"',
            'timestamp<"2026-01-02"',
            'receiveTimestamp="2026-01-01T00:00:01Z"',
            'receive_timestamp>="2026-01-01T00:00:01Z"',
            'textPayload=~"said \\"no\\" at [0-9]+"',
            'textPayload!~"yes"',
            'textPayload:"SAID \\"NO\\""',
            'log_id("batch_task_logs")',
            'resource.type="batch.googleapis.com/Job"',
            "NOT severity<ERROR",
            "-severity<ERROR",
            'logName="projects/p/logs/batch_task_logs" AND labels.job_uid="j-1"',
            'logName="projects/p/logs/batch_task_logs" labels.job_uid="j-1"',
            'logName=("projects/p/logs/batch_task_logs" OR "projects/p/logs/batch_agent_logs")\nlabels.job_uid="j-1"',
            '(labels.job_uid="x" OR labels.job_uid="j-1") AND severity=ERROR -- a comment',
            'labels.job_uid:("j" AND "1")',
            'labels.job_uid:("j" AND NOT "2")',
        ],
    )
    def test_that_hold(self, text: str) -> None:
        assert found(text)

    @pytest.mark.parametrize(
        "text",
        [
            'labels.job_uid="j-2"',
            'labels.absent="x"',
            'labels.absent!="x"',
            'labels.job_uid=("a" OR "b")',
            "severity>ERROR",
            'timestamp>"2026-01-01T00:00:00.5Z"',
            'textPayload=~"SAID"',
            'log_id("batch_agent_logs")',
            'NOT labels.job_uid="j-1"',
            'labels.job_uid="j-1" AND severity<ERROR',
        ],
    )
    def test_that_do_not_hold(self, text: str) -> None:
        assert not found(text)

    def test_or_binds_more_tightly_than_and(self) -> None:
        """As Cloud Logging documents it; the other way round this would hold."""
        assert not found('severity=ERROR OR severity=INFO AND labels.job_uid="j-2"')


class TestWhatItCannotRead:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("labels.job_uid=", "expected a value, found the end"),
            ("labels.job_uid", "FIELD:'labels.job_uid'"),
            ('"free text"', "no search over all fields"),
            ("(severity=ERROR", r"expected \)"),
            ("severity=ERROR)", "expected an operator or the end"),
            ("severity=ERROR AND", "after AND"),
            ("severity=LOUD", "write one of DEFAULT"),
            ("severity=²", "write one of DEFAULT"),
            ('timestamp>"yesterday"', "write a time"),
            ('textPayload=~"("', "not a regular expression"),
            ('jsonPayload.x="1"', "cannot filter on 'jsonPayload.x'"),
            ('labels.a="open', "column 10"),
            ("labels.a=(", "expected a value"),
            ('labels.a=("x" "y")', "expected AND, OR"),
            ("x" * (MAX_CHARS + 1), "20000 are allowed"),
        ],
    )
    def test_is_refused_with_place_and_reason(self, text: str, words: str) -> None:
        with pytest.raises(FilterError, match=words):
            parse(text)

    @given(st.text(alphabet=st.sampled_from("ab \"'()=<>!:~.-OR AND NOT\\\n,"), max_size=60))
    def test_never_breaks_on_any_text(self, text: str) -> None:
        with contextlib.suppress(FilterError):
            matches(parse(text), ENTRY.get)


class TestWhatAnIndexCanUse:
    def test_the_job_uids(self) -> None:
        text = 'logName="l" AND labels.job_uid=("a" OR "b") AND (severity=ERROR OR labels.job_uid="c")'
        assert required(parse(text), "labels.job_uid") == {"a", "b"}

    @pytest.mark.parametrize(
        "text", ['labels.job_uid:"a"', 'NOT labels.job_uid="a"', 'labels.job_uid="a" OR severity=ERROR']
    )
    def test_nothing_where_others_could_match(self, text: str) -> None:
        assert required(parse(text), "labels.job_uid") is None

    def test_the_narrowest_span_of_time(self) -> None:
        text = 'timestamp>="2026-01-01" AND timestamp>"2026-01-02" AND timestamp<="2026-02-01"'
        assert bounds(parse(text), "timestamp") == (nanoseconds("2026-01-02"), nanoseconds("2026-02-01"))

    def test_no_span_below_an_or(self) -> None:
        assert bounds(parse('timestamp>="2026-01-01" OR severity=ERROR'), "timestamp") == (None, None)


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1970-01-01T00:00:01Z", 10**9),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1970-01-01T01:00:00.25+01:00", 250_000_000),
            ("1970-01-02", 86_400 * 10**9),
            ("1970-13-01", None),
            ("now", None),
        ],
    )
    def test_are_read_to_the_nanosecond(self, text: str, value: int | None) -> None:
        assert nanoseconds(text) == value
