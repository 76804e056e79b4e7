"""Does the boot disk look large enough for a job's images? An estimate, between their scan and the job's submission.

A streamed image is downloaded to the boot disk all the same, in the background, and a full disk fails tasks that have
run for hours. How large the disk is, says Google's client (``AllocationPolicy.Disk.size_gb``,
``ComputeResource.boot_disk_mib``): ``sizeGb`` is the whole of it, and ``bootDiskMib`` counts for nothing then; without
it, Batch adds ``bootDiskMib``, for each task, to what the VM's image brings. A GB is 2**30 bytes, as in Compute Engine.

What is not known is taken at its best, so that a warning is worth reading: nothing is said of a VM image or an instance
template that is not Batch's own, nor of a template of Airflow's, and as many tasks as can be share the VM.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import listed, mapping, number, tasks, warned

UNPACKED = 3
"""An unpacked image's size over its compressed one; what Cromwell came to (its pull request 5790)."""
BROUGHT_GB = 30
"""The size of Batch's own VM images: Google's example for ``size_gb``, and Galaxy's experience (Pulsar's pull 472)."""
SYSTEM_GB = 6
"""What the VM's system takes of it: Container-Optimized OS leaves "only a few" of 10 GB (Tightlock's issue 202)."""
_OWN_IMAGES = frozenset({"batch-cos", "batch-debian", "batch-hpc-rocky"})
_SIZE = "job.allocationPolicy.instances[0].policy.bootDisk.sizeGb"
_GB, _MIB = 2**30, 2**20


class Disk(NamedTuple):
    """A boot disk, as far as the job tells.

    :param path: of the field that decides, with ``value`` in it; None if it is not set.
    :param size: in bytes.
    :param told: where that comes from.
    """

    path: str
    value: Any
    size: int
    told: str


def boot_disk_room(spec: Spec, compressed_bytes: int) -> Iterator[Finding]:
    """The images fit the boot disk.

    :param compressed_bytes: of all images that one VM runs, together; 0 if that is not known.
    """
    needed, disk = compressed_bytes * UNPACKED, _boot_disk(spec)
    if disk is None or needed <= max(0, disk.size - SYSTEM_GB * _GB):
        return
    free = max(0, disk.size - SYSTEM_GB * _GB)
    says = (
        f"{disk.told}: some {_gb(free)} are free, and the images are some {_gb(needed)} unpacked, an estimate of "
        f"{UNPACKED} times their compressed size. They are downloaded to it in the background."
    )
    enough = math.ceil(needed / _GB) + SYSTEM_GB
    where = "it" if disk.path == _SIZE else f"{_SIZE}, which counts in its place,"
    yield warned("boot-disk-room", disk.path, disk.value, says, f"Set {where} to {enough} or more.")


def _boot_disk(spec: Spec) -> Disk | None:
    """The boot disk of the job's VMs; None if its size is not known here."""
    boot = _boot(spec)
    if boot is None:
        return None
    size = boot.get("sizeGb")
    if (given := number(size)) or (given is None and size is not None):
        return Disk(_SIZE, size, given * _GB, f"is {given:,} GB") if given and given > 0 else None
    if boot.get("image", "batch-cos") not in _OWN_IMAGES:
        return None
    for group_path, group, task in tasks(spec):
        extra = mapping(task, "computeResource").get("bootDiskMib", 0)
        mib, sharing = number(extra), _sharing(group)
        if mib is None or (mib and sharing is None):
            return None
        if mib > 0 and sharing:
            each = f" for each of {sharing:,} tasks" if sharing > 1 else ""
            told = f"adds {_gb(mib * _MIB)}{each} to the {BROUGHT_GB} GB or so of Batch's own VM images"
            path = f"{group_path}.taskSpec.computeResource.bootDiskMib"
            return Disk(path, extra, BROUGHT_GB * _GB + mib * _MIB * sharing, told)
    return Disk(_SIZE, None, BROUGHT_GB * _GB, f"is not set, and Batch's own VM images have {BROUGHT_GB} GB or so")


def _boot(spec: Spec) -> dict[str, Any] | None:
    """The field ``bootDisk``, empty if it is not set; None where a template stands on the way there."""
    allocation = spec.get("allocationPolicy", {})
    instances = allocation.get("instances", []) if isinstance(allocation, dict) else None
    if not isinstance(instances, list):
        return None
    instance = instances[0] if instances else {}
    if not isinstance(instance, dict) or instance.get("instanceTemplate"):
        return None
    policy = instance.get("policy", {})
    boot = policy.get("bootDisk", {}) if isinstance(policy, dict) else None
    return boot if isinstance(boot, dict) else None


def _sharing(group: dict[str, Any]) -> int | None:
    """How many tasks may be on one VM at a time, at most; None where a template says it."""
    limits = [number(group[key]) for key in ("taskCount", "parallelism", "taskCountPerNode") if key in group]
    if None in limits:
        return None
    if not number(group.get("taskCount")):
        limits.append(len(listed(group, "taskEnvironments")) or 1)
    return min(limit for limit in limits if limit)


def _gb(size: int) -> str:
    return f"{size / _GB:,.1f} GB"
