"""Does an Artifact Registry location contain a region? Asked for the image and the job's VMs: streaming needs it.

Sources, read in stored copies of 2025:

* Artifact Registry, "Repository locations": the multi-regions are ``us``, ``europe`` and ``asia``; ``europe`` is the
  member states of the European Union.
* Cloud Storage, "Bucket locations", which has the same multi-regions: data of ``EU`` is never stored in London
  (``europe-west2``) or Zurich (``europe-west6``), neither of which is in the Union.
* Google Cloud, "Geography and regions", and the location lists of its products: the regions by continent.

No page lists the regions of a multi-region by name. So the tables below are the regions known to lie in the country, in
the Union, on the continent; what is not in them is answered with "not known" rather than with a guess.
"""

from __future__ import annotations

import re

MULTI_REGIONS: dict[str, frozenset[str]] = {
    "us": frozenset(
        {
            "us-central1",  # Iowa
            "us-east1",  # South Carolina
            "us-east4",  # Northern Virginia
            "us-east5",  # Columbus
            "us-south1",  # Dallas
            "us-west1",  # Oregon
            "us-west2",  # Los Angeles
            "us-west3",  # Salt Lake City
            "us-west4",  # Las Vegas
        }
    ),
    "europe": frozenset(
        {
            "europe-central2",  # Warsaw
            "europe-north1",  # Finland
            "europe-north2",  # Stockholm
            "europe-southwest1",  # Madrid
            "europe-west1",  # Belgium
            "europe-west3",  # Frankfurt
            "europe-west4",  # Netherlands
            "europe-west8",  # Milan
            "europe-west9",  # Paris
            "europe-west10",  # Berlin
            "europe-west12",  # Turin
        }
    ),
    "asia": frozenset(
        {
            "asia-east1",  # Taiwan
            "asia-east2",  # Hong Kong
            "asia-northeast1",  # Tokyo
            "asia-northeast2",  # Osaka
            "asia-northeast3",  # Seoul
            "asia-south1",  # Mumbai
            "asia-south2",  # Delhi
            "asia-southeast1",  # Singapore
            "asia-southeast2",  # Jakarta
        }
    ),
}
"""Each multi-region's regions, as far as they are known."""

_NOT_IN_EUROPE = frozenset({"europe-west2", "europe-west6"})
"""London and Zurich: European regions outside the European Union."""

_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "us": ("europe-", "asia-", "australia-", "southamerica-", "northamerica-", "me-", "africa-"),
    "europe": ("us-", "asia-", "australia-", "southamerica-", "northamerica-", "me-", "africa-"),
    # The Middle East (me-) is in Asia on a map and not in Google's lists: not known.
    "asia": ("us-", "europe-", "australia-", "southamerica-", "northamerica-", "africa-"),
}
"""Beginnings of region names that are certainly not in the multi-region."""

_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")


def covers(image_location: str, region: str) -> bool | None:
    """Whether VMs in the region are in the image's location.

    :param image_location: a region or a multi-region, as in ``LOCATION-docker.pkg.dev``.
    :param region: the job's region.
    :returns: None where it is not known: a new region or multi-region, or one of the two is empty.
    """
    if not image_location or not region:
        return None
    if image_location == region:
        return True
    if image_location in MULTI_REGIONS:
        return _in_multi_region(image_location, region)
    # Two regions never contain each other, known to us or not. Anything else is a kind of location yet to be heard of.
    return False if _REGION.fullmatch(image_location) and _REGION.fullmatch(region) else None


def locations_for(region: str) -> list[str]:
    """Where an image may be for jobs in the region: the region itself, then multi-regions known to contain it."""
    return [region, *(name for name, regions in MULTI_REGIONS.items() if region in regions)]


def _in_multi_region(name: str, region: str) -> bool | None:
    if region in MULTI_REGIONS[name]:
        return True
    if region.startswith(_ELSEWHERE[name]) or (name == "europe" and region in _NOT_IN_EUROPE):
        return False
    return None
