"""How an image came: the word that the signs bear, and no stronger one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_batchstream.core.jobs.streamed import (
    Signs,
    Streamed,
    first_waits_for,
    judge,
    pull_filter,
    told_by_docker,
)

IMAGE = "europe-docker.pkg.dev/shop/etl/night:7"
OTHER = "europe-docker.pkg.dev/shop/etl/other:1"
RAN = 1_700_000_000.0
BIG = 9_800_000_000
SIGNS = Signs(True, IMAGE, BIG, "holds", RAN, RAN + 4.1)
"""Of a job that streamed, as far as one can see."""
PULLED = f"Unable to find image '{IMAGE}' locally"


def word(**more: Any) -> str:
    return judge(replace(SIGNS, **more)).word


def says(**more: Any) -> str:
    return str(judge(replace(SIGNS, **more)))


class TestAPlainJob:
    def test_has_no_word_and_no_line_whatever_it_showed(self):
        assert judge(replace(SIGNS, streaming=False, agent=(PULLED,))) == ("", ())
        assert says(streaming=False) == ""


class TestBeforeTheRunHasShownAnything:
    @pytest.mark.parametrize(
        ("verdict", "expected"),
        [
            ("", "requested"),
            ("holds", "eligible"),
            ("warning", "eligible"),
            ("broken", "unknown"),
            ("unknown", "unknown"),
            ("could not be told", "unknown"),
        ],
    )
    def test_the_scan_s_verdict_is_the_word(self, verdict, expected):
        assert judge(Signs(True, IMAGE, BIG, verdict)).word == expected


class TestTheTimeToTheFirstLine:
    def test_that_no_download_can_explain_is_consistent_with_streaming(self):
        assert says() == (
            "Image streaming: consistent with streaming: the first line came 4.1 s after RUNNING; "
            "downloading 9.8 GB takes about 8 min."
        )

    @pytest.mark.parametrize(
        ("size", "seconds", "expected"),
        [
            (BIG, 122.5, "consistent"),  # a quarter of 490 s
            (BIG, 122.6, "eligible"),
            (BIG, 0.0, "consistent"),
            (600_000_000, 7.5, "consistent"),  # the smallest that can tell
            (600_000_000, 7.6, "eligible"),
            (599_999_999, 0.1, "eligible"),
            (50_000_000, 0.1, "eligible"),
            (0, 0.1, "eligible"),  # nobody knows the size
            (BIG, 5_000.0, "eligible"),  # it may have computed before it printed
            (BIG, -0.1, "eligible"),  # clocks
        ],
    )
    def test_tells_only_of_a_big_image_and_when_it_is_far_too_short(self, size, seconds, expected):
        assert word(compressed_bytes=size, first_line_at=RAN + seconds) == expected

    @pytest.mark.parametrize("missing", ["running_at", "first_line_at"])
    def test_that_is_not_known_tells_nothing(self, missing):
        assert word(**{missing: None}) == "eligible"

    def test_without_a_scan_is_a_sign_as_well(self):
        assert word(verdict="") == "consistent"
        assert word(verdict="", first_line_at=None) == "requested"

    def test_is_explained_where_it_does_not_tell(self):
        assert says(compressed_bytes=50_000_000, first_line_at=RAN + 1) == (
            "Image streaming: eligible: the scan found the rules kept; 50.0 MB are downloaded in about 2 s, so that "
            "the time to the first line tells nothing."
        )
        assert "the first line came 10 min 0 s after RUNNING, and downloading 9.8 GB takes about 8 min: that fits" in (
            says(first_line_at=RAN + 600)
        )
        assert "dated before RUNNING" in says(first_line_at=RAN - 1)

    def test_that_a_broken_rule_contradicts_decides_nothing(self):
        assert word(verdict="broken") == "unknown"


class TestTheAgentsWords:
    @pytest.mark.parametrize(
        "line",
        [
            PULLED,
            f"Unable to find image '{IMAGE.partition(':')[0]}@sha256:{'0' * 64}' locally",
            "7: Pulling from shop/etl/night",
            "0123456789ab: Pulling fs layer",
            f"\x1b[31m  {PULLED}\r",
            f"running docker run --rm -v /mnt/a:/b/c/d {IMAGE} ls",
        ],
    )
    def test_of_a_pull_are_evidence_of_a_full_pull(self, line):
        assert word(agent=("report agent state", line), first_line_at=None) == "full pull"

    @pytest.mark.parametrize(
        "lines",
        [
            (f"Unable to find image '{OTHER}' locally",),
            ("1: Pulling from shop/etl/other", "0123456789ab: Pulling fs layer"),  # whose layer? the other's
            (f"docker run {OTHER}",),
            (f"docker run {IMAGE.partition(':')[0]}-debug:7",),  # a name that only begins as ours does
            (f"docker run mirror.example/{IMAGE}",),
            ("7: Pulling from etl/night",),  # docker.io's: Docker leaves out the registry and nothing else
            ("Executing runnable 0",),
            (),
        ],
    )
    def test_about_another_image_are_none(self, lines):
        assert word(agent=lines, first_line_at=None) == "eligible"

    def test_are_more_than_what_the_scan_said(self):
        assert {word(agent=(PULLED,), verdict=v, first_line_at=None) for v in ("", "holds", "broken")} == {"full pull"}

    def test_are_quoted(self):
        assert says(agent=(PULLED,), first_line_at=None) == (
            f'Image streaming: evidence of a full pull: a VM logged "{PULLED}".'
        )

    def test_are_never_quoted_beyond_the_known_ones(self):
        """An agent may log its whole command, environment and all."""
        lines = (f"docker run -e PASSWORD=s3cret {IMAGE}", f"PASSWORD=s3cret {PULLED} PASSWORD=s3cret")
        assert not [line for line in lines if "s3cret" in says(agent=(line,))]

    def test_that_the_time_contradicts_decide_nothing(self):
        told = says(agent=(PULLED,))
        assert told.startswith("Image streaming: unknown: a VM logged")
        assert "yet the first line came 4.1 s after RUNNING" in told

    def test_are_bounded_when_they_are_long(self):
        assert len(says(agent=(f"Unable to find image '{IMAGE.partition(':')[0]}:{'x' * 9000}' locally",))) < 500

    def test_are_what_the_agent_s_log_is_searched_for(self):
        assert pull_filter() == (
            'textPayload:("Unable to find image" OR "Pulling from" OR "Pulling fs layer" OR "docker run")'
        )


class TestDockersOwnLines:
    @pytest.mark.parametrize(
        "line",
        [
            PULLED,
            "7: Pulling from shop/etl/night",
            "0123456789ab: Pulling fs layer",
            "0123456789ab: Pull complete",
            "Using default tag: latest",
            f"Digest: sha256:{'a' * 64}",
            f"Status: Downloaded newer image for {IMAGE}",
        ],
    )
    def test_are_no_lines_of_the_container(self, line):
        assert told_by_docker(line)

    @pytest.mark.parametrize("line", ["", "hello", f"I say: {PULLED}", "Waiting", "Digest: sha256:abc"])
    def test_are_told_from_those(self, line):
        assert not told_by_docker(line)


def job(*runnables: dict[str, Any]) -> dict[str, Any]:
    return {"taskGroups": [{"taskSpec": {"runnables": list(runnables)}}]}


def container(image: str = IMAGE, *, streamed: bool = True, **more: Any) -> dict[str, Any]:
    return {"container": {"imageUri": image, "enableImageStreaming": streamed}, **more}


class TestTheFirstLine:
    @pytest.mark.parametrize(
        ("spec", "waits"),
        [
            (job(container()), True),
            (job(container(f"{IMAGE.partition(':')[0]}@sha256:{'0' * 64}")), True),  # pinned
            (job(container(), {"script": {"text": "echo"}}), True),  # the script comes later
            (job({"barrier": {}}, container()), True),
            (job(container(), {"script": {"text": "echo"}, "alwaysRun": True}), True),  # of a job that succeeds
            (job(container(ignoreExitStatus=True), {"script": {"text": "echo"}}), False),  # it may not have come at all
            (job(container(ignoreExitStatus=True)), False),
            (job({"script": {"text": "echo"}}, container()), False),
            (job({"script": {"text": "echo"}, "background": True}, container()), False),
            (job({"barrier": {}}, {"script": {"text": "echo"}}, container()), False),
            (job(container(OTHER), container()), False),
            (job(container(streamed=False)), False),
            (job(container(background=True), container(OTHER)), False),  # the other prints meanwhile
            (job(), False),
            ({}, False),
        ],
    )
    def test_waits_for_the_image_only_where_nothing_can_print_before(self, spec, waits):
        assert first_waits_for(spec, IMAGE) is waits


def test_the_words_are_those_that_are_documented():
    assert [str(one) for one in Streamed] == ["requested", "eligible", "full pull", "consistent", "unknown"]
