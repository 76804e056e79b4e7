"""Which platform an image has to be for: that of the machines that run it."""

from __future__ import annotations

from airflow_batchstream.core.images.manifest import LINUX_AMD64, LINUX_ARM64, Platform

ARM_SERIES = frozenset({"t2a", "c4a", "n4a", "a4x"})
"""Compute Engine's series with Arm processors: T2A and C4A by its documentation, N4A and A4X by their announcements."""


def platform_of(machine_type: str) -> Platform:
    """The platform of a Compute Engine machine type (``c4a-standard-8`` is linux/arm64).

    :param machine_type: empty where Batch chooses: it chooses x86.
    """
    return LINUX_ARM64 if machine_type.strip().lower().partition("-")[0] in ARM_SERIES else LINUX_AMD64
