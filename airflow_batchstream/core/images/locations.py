"""Does an Artifact Registry location contain a region? Asked for the image and the job's VMs: streaming needs it.

No page of Google's lists the regions of a multi-region by name. So each table below is the regions known to lie in the
country, in the Union, on the continent, with where that is said and as of when; what is not in it is answered with "not
known" rather than with a guess.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

AS_OF = "2026-04-06"
"""The newest entry of Artifact Registry's release notes when the tables were last held against them (2026-11-25):
they name each region that Artifact Registry comes to, the latest being Bangkok (2026-01-21)."""


@dataclass(frozen=True, slots=True)
class MultiRegion:
    """A multi-region of Artifact Registry.

    :param name: as in ``NAME-docker.pkg.dev``.
    :param means: what it is, in Google's words.
    :param regions: those known to be in it, with their places.
    :param source: the page that says what it means.
    :param elsewhere: beginnings of names of regions that are certainly not in it.
    :param outside: further regions that are certainly not in it, with their places.
    :param as_of: the day whose regions these are.
    """

    name: str
    means: str
    regions: Mapping[str, str]
    source: str
    elsewhere: tuple[str, ...]
    outside: Mapping[str, str]
    as_of: str = AS_OF

    def contains(self, region: str) -> bool | None:
        """Whether the region is in it; None where it is not known."""
        if region in self.regions:
            return True
        return False if region in self.outside or region.startswith(self.elsewhere) else None


_LOCATIONS = "Artifact Registry, Repository locations"
_BUCKETS = "Cloud Storage, Bucket locations"

TABLES = (
    MultiRegion(
        "us",
        "data centers in the United States",
        {
            "us-central1": "Iowa",
            "us-east1": "South Carolina",
            "us-east4": "Northern Virginia",
            "us-east5": "Columbus",
            "us-south1": "Dallas",
            "us-west1": "Oregon",
            "us-west2": "Los Angeles",
            "us-west3": "Salt Lake City",
            "us-west4": "Las Vegas",
        },
        _LOCATIONS,
        ("europe-", "asia-", "australia-", "southamerica-", "northamerica-", "me-", "africa-"),
        {},
    ),
    MultiRegion(
        "europe",
        "data centers in member states of the European Union",
        {
            "europe-central2": "Warsaw",
            "europe-north1": "Finland",
            "europe-north2": "Stockholm",
            "europe-southwest1": "Madrid",
            "europe-west1": "Belgium",
            "europe-west3": "Frankfurt",
            "europe-west4": "Netherlands",
            "europe-west8": "Milan",
            "europe-west9": "Paris",
            "europe-west10": "Berlin",
            "europe-west12": "Turin",
        },
        # Cloud Storage's EU is the same multi-region, and its page names the two that are not in it.
        f"{_LOCATIONS}; {_BUCKETS}",
        ("us-", "asia-", "australia-", "southamerica-", "northamerica-", "me-", "africa-"),
        {"europe-west2": "London", "europe-west6": "Zurich"},
    ),
    MultiRegion(
        "asia",
        "data centers in Asia",
        {
            "asia-east1": "Taiwan",
            "asia-east2": "Hong Kong",
            "asia-northeast1": "Tokyo",
            "asia-northeast2": "Osaka",
            "asia-northeast3": "Seoul",
            "asia-south1": "Mumbai",
            "asia-south2": "Delhi",
            "asia-southeast1": "Singapore",
            "asia-southeast2": "Jakarta",
            "asia-southeast3": "Bangkok",
        },
        _LOCATIONS,
        # The Middle East (me-) is in Asia on a map and not in Google's lists: not known.
        ("us-", "europe-", "australia-", "southamerica-", "northamerica-", "africa-"),
        {},
    ),
)
"""What is known of each multi-region; docs/scan.md shows it."""

MULTI_REGIONS: dict[str, frozenset[str]] = {table.name: frozenset(table.regions) for table in TABLES}
"""Each multi-region's regions, as far as they are known."""

_BY_NAME = {table.name: table for table in TABLES}
_KNOWN = sorted(set().union(*MULTI_REGIONS.values()))
REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")
ZONE = re.compile(rf"({REGION.pattern})-[a-z]")


def no_region(text: str) -> tuple[()] | tuple[str, str]:
    """Why a text is no region, and what to write; empty for what can be one, known here or not."""
    if REGION.fullmatch(text):
        return ()
    shown, meant = repr(text[:100]), text.strip().lower().rpartition("/")[2]
    if zone := ZONE.fullmatch(meant):
        return f"{shown} is a zone, and a Batch job runs in a region.", f"Write {zone[1]}."
    if meant in MULTI_REGIONS:
        says = f"{shown} is a multi-region of Artifact Registry, and a Batch job runs in a region."
        return says, f"Write one of its regions, such as {min(MULTI_REGIONS[meant])}."
    if REGION.fullmatch(meant):
        return f"{shown} is no region.", f"Write {meant}."
    near = difflib.get_close_matches(meant, _KNOWN, 1)
    return f"{shown} is no region.", f"Did you mean {near[0]}?" if near else "Write a region such as us-central1."


def covers(image_location: str, region: str) -> bool | None:
    """Whether VMs in the region are in the image's location.

    :param image_location: a region or a multi-region, as in ``LOCATION-docker.pkg.dev``.
    :param region: the job's region.
    :returns: None where it is not known: a new region or multi-region, no location, or no region.
    """
    if not image_location or not REGION.fullmatch(region):
        return None
    if image_location == region:
        return True
    if table := _BY_NAME.get(image_location):
        return table.contains(region)
    # Two regions never contain each other, known to us or not. Anything else is a kind of location yet to be heard of.
    return False if REGION.fullmatch(image_location) else None


def not_listed(image_location: str, region: str) -> str:
    """Why it is not known whether the location contains the region, in a sentence."""
    if table := _BY_NAME.get(image_location):
        return f"{region} is not in the list of {image_location}'s regions, which is as of {table.as_of}."
    known = ", ".join(_BY_NAME)
    return f"{image_location} is neither a region nor one of the multi-regions known as of {AS_OF} ({known})."


def locations_for(region: str) -> list[str]:
    """Where an image may be for jobs in the region: the region itself, then multi-regions known to contain it."""
    return [region, *(name for name, regions in MULTI_REGIONS.items() if region in regions)]
