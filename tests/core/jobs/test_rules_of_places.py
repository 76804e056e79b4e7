"""The image is where the job's VMs may be."""

from __future__ import annotations

from typing import Any

import pytest
from job_rules import container, findings, job, refused

from airflow_batchstream.core.jobs.machine_rules import allowed_regions

PLACES = "job.allocationPolicy.location.allowedLocations"


def in_places(image: str, *places: str) -> dict[str, Any]:
    written = container(imageUri=f"{image}-docker.pkg.dev/p/r/i:1")
    return job(written, allocationPolicy={"location": {"allowedLocations": list(places)}})


class TestTheImageIsWhereTheVMsMayBe:
    @pytest.mark.parametrize(
        ("image", "place"),
        [
            ("us", "zones/europe-west1-b"),
            ("us", "regions/europe-west1"),
            ("europe-west4", "zones/europe-west1-b"),
            ("europe", "regions/europe-west2"),
        ],
    )
    def test_a_place_that_is_surely_elsewhere_is_refused(self, image: str, place: str) -> None:
        found = refused(in_places(image, place), region=None, templated_ok=True)
        assert found.keys() == {f"{PLACES}[0]"}
        assert f"is in {image}, which does not contain europe-west" in found[f"{PLACES}[0]"]

    @pytest.mark.parametrize(
        ("image", "place"),
        [
            ("us", "zones/us-central1-a"),
            ("us", "regions/us-central1"),
            ("us-central1", "zones/us-central1-a"),
            ("us", "regions/us-north7"),  # not known here
            ("us", "{{ params.place }}"),
            ("us", "elsewhere"),
        ],
    )
    def test_one_in_it_or_not_known_is_not(self, image: str, place: str) -> None:
        found = findings(in_places(image, place), region=None, templated_ok=True)
        assert [f.rule for f in found if f.rule == "image-location"] == []

    def test_each_place_counts(self) -> None:
        written = in_places("us", "zones/us-central1-a", "zones/asia-east1-a", "regions/asia-east1")
        found = refused(written, region=None, templated_ok=True)
        assert found.keys() == {f"{PLACES}[1]", f"{PLACES}[2]"}

    def test_an_image_that_is_not_streamed_may_be_anywhere(self) -> None:
        written = in_places("us", "zones/europe-west1-b")
        assert findings(written, region="europe-west1", streaming=False) == []

    def test_zones_and_urls_give_their_regions(self) -> None:
        url = "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b"
        written = in_places("us", url, "regions/us-west1", "moon")
        assert allowed_regions(written) == [(f"{PLACES}[0]", "us-east1"), (f"{PLACES}[1]", "us-west1")]
