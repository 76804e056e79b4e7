"""What an image's repository is, from Artifact Registry's answer, and what that says about streaming."""

from __future__ import annotations

import json
from typing import Any

import pytest
import small_images as make
from hypothesis import given
from hypothesis import strategies as st

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import rules
from airflow_batchstream.core.images.layer_rules import PLAIN_JOB
from airflow_batchstream.core.images.manifest import LINUX_AMD64, Image, Manifest, read_manifest
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.repository import Mode, Repository, read, resource_name

NAME = "projects/acme/locations/us/repositories/all"


def answer(**fields: Any) -> Repository:
    return read(NAME, json.dumps({"name": NAME, "format": "DOCKER", **fields}).encode())


def findings(repository: Repository | None, image: str = "us-docker.pkg.dev/acme/all/ml/train:1.4") -> list[Finding]:
    """What the rule about repositories says of an image."""
    made = make.image()
    read_back = read_manifest(made.media_type, made.body)
    assert isinstance(read_back, Manifest)
    whole = Image(parse(image), made.digest, made.digest, LINUX_AMD64, read_back, None, repository=repository)
    return [one for one in rules.check(whole, region="us-central1") if one.rule == "image-repository"]


def said(repository: Repository) -> Finding:
    (finding,) = findings(repository)
    return finding


def virtual(*upstreams: tuple[str, int]) -> Repository:
    policies = [{"id": name, "repository": name, "priority": priority} for name, priority in upstreams]
    return answer(mode="VIRTUAL_REPOSITORY", virtualRepositoryConfig={"upstreamPolicies": policies})


class TestTheNameToAskBy:
    @pytest.mark.parametrize(
        ("image", "name"),
        [
            ("us-docker.pkg.dev/acme/all/ml/train:1", "projects/acme/locations/us/repositories/all"),
            ("us-docker.pkg.dev/acme/gcr.io/train", "projects/acme/locations/us/repositories/gcr.io"),
            (
                "europe-west4-docker.pkg.dev/example.com/acme/all/train",
                "projects/example.com:acme/locations/europe-west4/repositories/all",
            ),
        ],
    )
    def test_is_read_off_the_image(self, image: str, name: str) -> None:
        assert resource_name(parse(image)) == name

    @pytest.mark.parametrize("image", ["python:3.12", "gcr.io/acme/train", "us-docker.pkg.dev/acme", "quay.io/a/b"])
    def test_is_none_outside_artifact_registry_and_for_half_a_name(self, image: str) -> None:
        assert resource_name(parse(image)) is None


class TestTheMode:
    @pytest.mark.parametrize("mode", list(Mode))
    def test_is_told(self, mode: Mode) -> None:
        assert answer(mode=str(mode)).mode is mode

    @pytest.mark.parametrize("fields", [{}, {"mode": None}, {"mode": "MODE_UNSPECIFIED"}])
    def test_that_is_not_specified_is_the_standard_one(self, fields: dict[str, Any]) -> None:
        assert answer(**fields).mode is Mode.STANDARD

    def test_that_is_new_is_not_guessed(self) -> None:
        assert answer(mode="MIRROR_REPOSITORY").untold == "it has the mode MIRROR_REPOSITORY, which is not known here"

    @pytest.mark.parametrize("priority", [float("inf"), float("nan"), "x", [1]])
    def test_with_a_priority_that_is_no_number_is_untold(self, priority: Any) -> None:
        config = {"upstreamPolicies": [{"repository": NAME, "priority": priority}]}
        assert answer(mode="VIRTUAL_REPOSITORY", virtualRepositoryConfig=config).untold == "the answer cannot be read"

    @given(st.binary() | st.recursive(st.none() | st.floats() | st.text(), lambda x: st.lists(x)).map(json.dumps))
    def test_of_any_bytes_is_a_mode_or_untold(self, body: bytes | str) -> None:
        found = read(NAME, body if isinstance(body, bytes) else body.encode())
        assert (found.mode is None) is bool(found.untold)

    @given(
        st.fixed_dictionaries(
            {"mode": st.just("VIRTUAL_REPOSITORY")},
            optional={
                "virtualRepositoryConfig": st.none()
                | st.integers()
                | st.fixed_dictionaries(
                    {
                        "upstreamPolicies": st.lists(
                            st.text()
                            | st.fixed_dictionaries(
                                {"repository": st.just(NAME) | st.text(), "priority": st.floats() | st.text()}
                            )
                        )
                    }
                )
            },
        )
    )
    def test_of_any_virtual_repository_is_told_or_untold_and_its_finding_is_short(self, fields: dict[str, Any]) -> None:
        finding = said(answer(**fields))
        assert len(finding.says) + len(finding.remedy) < 800


class TestWhatItSaysAboutStreaming:
    def test_nothing_where_nobody_asked(self) -> None:
        assert findings(None) == []

    def test_a_standard_one_holds(self) -> None:
        finding = said(answer(mode="STANDARD_REPOSITORY"))
        assert (finding.verdict, finding.remedy) == (Verdict.HOLDS, "")
        assert finding.says == "all is a standard repository."

    def test_a_remote_one_holds_and_says_where_its_images_are_from(self) -> None:
        finding = said(answer(mode="REMOTE_REPOSITORY"))
        assert (finding.verdict, finding.remedy) == (Verdict.HOLDS, "")
        assert "what it has not cached comes from upstream first" in finding.says

    def test_a_virtual_one_could_not_be_told_and_the_places_behind_it_are_named_in_its_order(self) -> None:
        low, high = "projects/acme/locations/us/repositories/low", "projects/example.com:b/locations/us/repositories/hi"
        finding = said(virtual((low, 1), (high, 20)))
        assert finding.verdict is Verdict.UNKNOWN
        assert "all is a virtual repository" in finding.says
        there = "us-docker.pkg.dev/example.com/b/hi/ml/train or us-docker.pkg.dev/acme/low/ml/train"
        assert finding.remedy == f"Name the image where it is stored ({there}), {PLAIN_JOB}."

    def test_a_project_that_is_told_by_its_number_is_the_images_own(self) -> None:
        finding = said(virtual(("projects/123456789012/locations/us/repositories/std", 1)))
        assert "(us-docker.pkg.dev/acme/std/ml/train)" in finding.remedy

    def test_a_virtual_one_with_nothing_behind_it_names_nothing(self) -> None:
        assert said(virtual()).remedy == f"Name the image where it is stored, {PLAIN_JOB}."

    def test_one_that_was_not_told_is_taken_for_a_standard_one_and_says_so(self) -> None:
        finding = said(Repository(NAME, untold="HTTP 403"))
        assert finding.verdict is Verdict.HOLDS
        assert finding.says.startswith("Taken for a standard or remote one: ")
        assert "(HTTP 403)" in finding.says
