"""From log entries to the records of Airflow's task log."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

import pytest

from airflow_batchstream.core.jobs.lines import (
    SEVERITIES,
    LineLimit,
    at_least,
    level_of,
    logs_explorer_url,
    records,
    tag,
    task_index,
)
from airflow_batchstream.core.jobs.model import Line

AT_NS = 1_700_000_000_123_456_789
LINE = Line(
    uid="nightly-1a2b-5e6f",
    log="batch_task_logs",
    at_ns=AT_NS,
    received_ns=AT_NS + 5,
    insert_id="abc",
    severity="INFO",
    task_id="task/nightly-1a2b-5e6f-group0-3/0/0",
    text="hello",
)


class TestRecords:
    def test_a_line_becomes_one_record_with_all_its_fields(self) -> None:
        (record,) = records(LINE)
        assert record == (logging.INFO, "hello", "2023-11-14T22:13:20.123456789Z", "batch.group0.3", "stdout/abc")

    def test_stderr_is_told_by_its_severity(self) -> None:
        (record,) = records(replace(LINE, severity="ERROR"))
        assert (record.level, record.chan) == (logging.ERROR, "stderr/abc")

    def test_an_empty_line_is_a_record(self) -> None:
        assert [record.text for record in records(replace(LINE, text=""))] == [""]

    def test_the_entrys_own_line_end_makes_no_second_record(self) -> None:
        assert [record.text for record in records(replace(LINE, text="a\r\n"))] == ["a"]

    def test_an_entry_of_several_lines_becomes_several_records_unlike_in_chan(self) -> None:
        shown = records(replace(LINE, text="a\n\na"))
        assert [(record.text, record.chan) for record in shown] == [
            ("a", "stdout/abc"),
            ("", "stdout/abc.1"),
            ("a", "stdout/abc.2"),
        ]

    def test_a_long_line_becomes_several_records_of_one_time(self) -> None:
        shown = records(replace(LINE, text="x" * 20_000))
        assert len(shown) == 3
        assert len({record.chan for record in shown}) == 3
        assert len({record.timestamp for record in shown}) == 1

    def test_two_equal_lines_differ_in_chan(self) -> None:
        assert records(LINE) != records(replace(LINE, insert_id="abd"))

    def test_the_same_line_read_twice_gives_equal_records(self) -> None:
        assert records(LINE) == records(replace(LINE, received_ns=AT_NS + 99))

    def test_the_agents_lines_are_told_apart(self) -> None:
        (record,) = records(replace(LINE, log="batch_agent_logs", severity="DEFAULT"))
        assert (record.logger, record.chan) == ("batch.agent", "agent/abc")

    def test_a_line_of_no_task_has_a_source_all_the_same(self) -> None:
        assert records(replace(LINE, task_id=""))[0].logger == "batch"

    def test_the_time_is_one_that_python_reads(self) -> None:
        assert datetime.fromisoformat(records(LINE)[0].timestamp).microsecond == 123456


class TestSeverities:
    @pytest.mark.parametrize(
        ("severity", "level"),
        [
            ("DEFAULT", logging.INFO),
            ("DEBUG", logging.DEBUG),
            ("INFO", logging.INFO),
            ("NOTICE", logging.INFO),
            ("WARNING", logging.WARNING),
            ("ERROR", logging.ERROR),
            ("CRITICAL", logging.CRITICAL),
            ("ALERT", logging.CRITICAL),
            ("EMERGENCY", logging.CRITICAL),
            ("", logging.INFO),
            ("SOMETHING_NEW", logging.INFO),
        ],
    )
    def test_each_has_a_level(self, severity: str, level: int) -> None:
        assert level_of(severity) == level

    def test_the_floor_keeps_what_reaches_it(self) -> None:
        lines = [replace(LINE, severity=name) for name in SEVERITIES]
        assert [line.severity for line in at_least(lines, "WARNING")] == [
            "WARNING",
            "ERROR",
            "CRITICAL",
            "ALERT",
            "EMERGENCY",
        ]

    def test_plain_stdout_counts_as_information(self) -> None:
        stdout = replace(LINE, severity="DEFAULT")
        assert at_least([stdout], "INFO") == [stdout]
        assert at_least([stdout], "NOTICE") == []

    @pytest.mark.parametrize("floor", ["", "DEFAULT"])
    def test_no_floor_keeps_all(self, floor: str) -> None:
        lines = [replace(LINE, severity=name) for name in SEVERITIES]
        assert at_least(lines, floor) == lines


class TestTags:
    @pytest.mark.parametrize(
        ("task_id", "expected"),
        [
            ("task/nightly-1a2b-5e6f-group0-3/0/0", "group0.3"),
            ("task/nightly-group0-7-x-group0-12/0/0", "group0.12"),
            ("task/nightly-1a2b-5e6f-group0-3/2/0", "group0.3.retry2"),
            ("task/u-group0-0/0", "group0.0"),
            ("", ""),
            ("nonsense", ""),
        ],
    )
    def test_name_the_group_the_index_and_a_later_attempt(self, task_id: str, expected: str) -> None:
        assert tag(task_id) == expected

    def test_the_index_is_read_of_the_same(self) -> None:
        assert task_index("task/u-group0-12/1/0") == 12
        assert task_index("") is None


class TestLineLimit:
    def lines(self, count: int, start: int = 0) -> list[Line]:
        return [replace(LINE, insert_id=str(n), at_ns=AT_NS + n * 1_000_000_000) for n in range(start, start + count)]

    def test_without_one_all_are_shown(self) -> None:
        limit = LineLimit(None)
        assert limit.take(self.lines(5)) == self.lines(5)
        assert limit.words("p", "u") == ""

    def test_the_first_ones_are_shown_over_several_pages(self) -> None:
        limit = LineLimit(7)
        assert [len(limit.take(self.lines(5, start))) for start in (0, 5, 10)] == [5, 2, 0]
        assert (limit.shown, limit.left_out) == (7, 8)

    def test_what_is_left_out_is_said_with_its_span_and_where_to_find_it(self) -> None:
        limit = LineLimit(2)
        limit.take(self.lines(62))
        said = limit.words("shop", "u")
        assert said.startswith("log_limit=2: 60 lines left out between 22:13:22 and 22:14:21 UTC.")
        assert "https://console.cloud.google.com/logs/query;" in said

    def test_the_span_is_right_when_lines_come_out_of_order(self) -> None:
        limit = LineLimit(0)
        limit.take(list(reversed(self.lines(60))))
        assert "between 22:13:20 and 22:14:19" in limit.words("shop", "u")

    def test_one_line_is_one_line(self) -> None:
        limit = LineLimit(0)
        limit.take(self.lines(1))
        assert ": 1 line left out" in limit.words("shop", "u")


class TestLogsExplorer:
    def test_the_url_holds_query_span_and_project(self) -> None:
        url = logs_explorer_url("example.com:shop", "u-1", 1_700_000_000, 1_700_000_060)
        path, _, project = url.partition("?project=")
        assert unquote(project) == "example.com:shop"
        assert unquote(path).split(";")[1:] == [
            'query=logName="projects/example.com:shop/logs/batch_task_logs"\nlabels.job_uid="u-1"',
            "startTime=2023-11-14T22:13:20.000Z",
            "endTime=2023-11-14T22:14:20.000Z",
        ]

    def test_without_a_span_it_has_none(self) -> None:
        assert "Time=" not in logs_explorer_url("shop", "u-1")
