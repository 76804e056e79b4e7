"""Which platform an image has to be for: that of the machines that run it."""

from __future__ import annotations

from airflow_batchstream.core.images.manifest import LINUX_AMD64, LINUX_ARM64, Platform

ARM_SERIES = frozenset({"t2a", "c4a", "n4a", "a4x"})
"""Compute Engine's series with Arm processors: T2A and C4A by its documentation, N4A and A4X by their announcements."""

BY_TEMPLATE = "instance template"
"""Stands for the machine type where an instance template decides it, which is not read here."""


def platform_of(machine_type: str) -> Platform:
    """The platform of a Compute Engine machine type (``c4a-standard-8`` is linux/arm64).

    :param machine_type: empty where Batch chooses: it chooses x86. A series that is not in :data:`ARM_SERIES` is taken
        for x86, a new one too; so is :data:`BY_TEMPLATE`, of which the rule then says that it could not be told.
    """
    return LINUX_ARM64 if machine_type.strip().lower().partition("-")[0] in ARM_SERIES else LINUX_AMD64
