"""The image is where the job's VMs may be, and fits their boot disk."""

from __future__ import annotations

from typing import Any

import pytest
from job_rules import INSTANCE, TASK, container, findings, job, refused

from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.jobs.machine_rules import allowed_regions, boot_disk_room

PLACES = "job.allocationPolicy.location.allowedLocations"
GB = 10**9


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


def with_disk(size_gb: Any = None, mib: Any = None) -> dict[str, Any]:
    policy = {} if size_gb is None else {"bootDisk": {"sizeGb": size_gb}}
    resource = {} if mib is None else {"computeResource": {"bootDiskMib": mib}}
    return job(task=resource, allocationPolicy={"instances": [{"policy": policy}]})


class TestTheBootDisk:
    @pytest.mark.parametrize(
        ("disk", "path"),
        [
            (with_disk(size_gb="30"), f"{INSTANCE}.policy.bootDisk.sizeGb"),
            (with_disk(mib="30720"), f"{TASK}.computeResource.bootDiskMib"),
            (with_disk(size_gb="30", mib="999999"), f"{INSTANCE}.policy.bootDisk.sizeGb"),  # which wins
        ],
    )
    def test_too_small_for_the_unpacked_images_is_a_warning_called_an_estimate(
        self, disk: dict[str, Any], path: str
    ) -> None:
        (found,) = boot_disk_room(disk, 11 * GB)
        assert (found.verdict, found.path) == (Verdict.WARNING, path)
        assert "32.2 GB" in found.says
        assert "33.0 GB unpacked: an estimate" in found.says
        assert "41 GB or more" in found.remedy

    @pytest.mark.parametrize(
        ("disk", "compressed"),
        [
            (with_disk(size_gb="30"), 10 * GB),
            (with_disk(size_gb="30", mib="1"), 10 * GB),
            (with_disk(), 900 * GB),
            (with_disk(size_gb="{{ x }}"), 900 * GB),
            (with_disk(size_gb="0"), 900 * GB),
            (with_disk(size_gb="1"), 0),
        ],
    )
    def test_large_enough_or_not_known_is_none(self, disk: dict[str, Any], compressed: int) -> None:
        assert list(boot_disk_room(disk, compressed)) == []
