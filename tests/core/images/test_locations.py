from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from airflow_batchstream.core.images.locations import AS_OF, MULTI_REGIONS, TABLES, covers, locations_for, no_region


class TestWhetherALocationContainsARegion:
    @pytest.mark.parametrize("region", ["us-central1", "europe-west2", "northamerica-south1", "mars-north1"])
    def test_a_region_contains_itself_known_or_not(self, region: str) -> None:
        assert covers(region, region) is True

    @pytest.mark.parametrize(
        ("location", "region"),
        [
            ("us", "us-central1"),
            ("us", "us-west4"),
            ("europe", "europe-west1"),
            ("europe", "europe-north2"),
            ("asia", "asia-south2"),
            ("asia", "asia-southeast3"),  # Bangkok, January 2026
        ],
    )
    def test_a_multi_region_contains_its_regions(self, location: str, region: str) -> None:
        assert covers(location, region) is True

    @pytest.mark.parametrize("region", ["europe-west2", "europe-west6"])
    def test_london_and_zurich_are_not_in_europe(self, region: str) -> None:
        assert covers("europe", region) is False

    @pytest.mark.parametrize(
        ("location", "region"),
        [
            ("us", "europe-west1"),
            ("us", "northamerica-northeast1"),
            ("europe", "us-east1"),
            ("europe", "me-west1"),
            ("asia", "australia-southeast1"),
            ("us-central1", "us-east1"),
            ("us-central9", "us-east1"),
            ("us-central1", "europe-west99"),
        ],
    )
    def test_what_is_certainly_elsewhere_is_not_in_it(self, location: str, region: str) -> None:
        assert covers(location, region) is False

    @pytest.mark.parametrize(
        ("location", "region"),
        [
            ("us", "us-north7"),
            ("europe", "europe-west99"),
            ("asia", "me-central1"),
            ("africa", "africa-south1"),
            ("asia1", "asia-northeast1"),
            ("us-central1", ""),
            ("", "us-central1"),
            ("us", ""),
            ("us", "us"),
            ("us-central1", "us-central1-a"),
            ("", ""),
            ("us", "somewhere"),
            ("us-central1", "somewhere"),
            ("us-central1-a", "us-east1"),
        ],
    )
    def test_what_is_not_known_is_not_guessed(self, location: str, region: str) -> None:
        assert covers(location, region) is None

    def test_no_region_is_in_two_multi_regions(self) -> None:
        regions = [region for known in MULTI_REGIONS.values() for region in known]
        assert len(regions) == len(set(regions))

    def test_a_place_that_is_outside_is_not_inside_too(self) -> None:
        for table in TABLES:
            assert not table.outside.keys() & table.regions.keys()
            assert not [region for region in table.regions if region.startswith(table.elsewhere)]

    def test_where_an_image_may_be_starts_with_the_region_itself(self) -> None:
        assert locations_for("europe-west4") == ["europe-west4", "europe"]
        assert locations_for("europe-west2") == ["europe-west2"]


class TestTheTables:
    def test_each_says_where_it_is_from_and_as_of_when(self) -> None:
        for table in TABLES:
            assert table.source
            assert date.fromisoformat(table.as_of) <= date(2026, 11, 25)

    def test_the_page_about_scans_shows_them_as_they_are(self) -> None:
        page = (Path(__file__).parents[3] / "docs" / "scan.md").read_text()
        for table in TABLES:
            regions = ", ".join(f"`{region}` {place}" for region, place in table.regions.items())
            beside = ", ".join(f"not `{region}` {place}" for region, place in table.outside.items())
            listed = f"{regions}; {beside}" if beside else regions
            assert f"| `{table.name}`: {table.means} | {listed} | {table.source} | {table.as_of} |" in page
        assert AS_OF in page


class TestWhatIsNoRegion:
    @pytest.mark.parametrize(
        ("text", "says", "remedy"),
        [
            ("us", "'us' is a multi-region of Artifact Registry", "Write one of its regions, such as us-central1."),
            ("Europe", "'Europe' is a multi-region", "Write one of its regions, such as europe-central2."),
            ("us-central1-a", "is a zone, and a Batch job runs in a region.", "Write us-central1."),
            ("zones/us-central1-a", "is a zone", "Write us-central1."),
            ("regions/us-central1", "is no region.", "Write us-central1."),
            ("projects/p/locations/mars-north1", "is no region.", "Write mars-north1."),
            ("US-CENTRAL1", "is no region.", "Write us-central1."),
            (" us-central1\n", r"' us-central1\n' is no region.", "Write us-central1."),
            ("us-central", "is no region.", "Did you mean us-central1?"),
            ("us-\x1b[31mx", r"'us-\x1b[31mx' is no region.", "Write a region such as us-central1."),
            ("us-central\N{ARABIC-INDIC DIGIT ONE}", "is no region.", "Did you mean us-central1?"),
            ("global", "'global' is no region.", "Write a region such as us-central1."),
        ],
    )
    def test_is_told_what_to_write(self, text: str, says: str, remedy: str) -> None:
        why = no_region(text)
        assert says in why[0]
        assert why[1:] == (remedy,)

    @pytest.mark.parametrize("region", ["us-central1", "europe-southwest1", "mars-north1"])
    def test_is_not_a_region_that_is_not_known_here(self, region: str) -> None:
        assert no_region(region) == ()
