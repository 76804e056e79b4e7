"""Rules about the VMs of a job: machines, GPUs, network, places, the account they act as."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.images.locations import REGION, ZONE
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import LATER, Asked, each, listed, mapping, number, refused, tasks, warned

# Machine types that bring their GPUs along (Compute Engine, "GPU machine types").
_WITH_GPUS = re.compile(r"(a2|a3|a4|a4x|g2|g4)-")


def instances(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """There is one kind of VM, and it can be made."""
    path = "job.allocationPolicy.instances"
    found = listed(mapping(spec, "allocationPolicy"), "instances")
    if len(found) > 1:
        says = f"there are {len(found)}, and Batch takes one."
        yield refused("instances", path, len(found), says, "Keep the first.")
    for where, instance in each(mapping(spec, "allocationPolicy"), "instances", "job.allocationPolicy"):
        boot = mapping(instance, "policy", "bootDisk")
        if "snapshot" in boot:
            says = "is set, and Batch boots from images only."
            yield refused(
                "boot-disk", f"{where}.policy.bootDisk.snapshot", boot["snapshot"], says, "Set image instead."
            )
        for group, _, task in tasks(spec):
            extra = mapping(task, "computeResource").get("bootDiskMib")
            if "sizeGb" in boot and number(extra):
                says = f"is set too, and then Batch ignores {group}.taskSpec.computeResource.bootDiskMib."
                yield warned(
                    "boot-disk", f"{where}.policy.bootDisk.sizeGb", boot["sizeGb"], says, "Keep one of the two."
                )


def gpus(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A GPU is of no use without its driver."""
    for path, instance in each(mapping(spec, "allocationPolicy"), "instances", "job.allocationPolicy"):
        policy = mapping(instance, "policy")
        accelerators, machine = listed(policy, "accelerators"), policy.get("machineType")
        brings = isinstance(machine, str) and _WITH_GPUS.match(machine)
        drivers = [instance.get("installGpuDrivers"), *(mapping(one).get("installGpuDrivers") for one in accelerators)]
        if (accelerators or brings) and not any(drivers):
            what = "accelerators are set" if accelerators else f"{machine} has GPUs"
            says = f"{what}, and no drivers are installed."
            remedy = "Set installGpuDrivers: true beside policy, unless the VM image brings the drivers."
            yield warned("gpu-drivers", path, machine if brings else len(accelerators), says, remedy)


def network(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """VMs without external addresses need a network of their own, in the job's region."""
    policy = mapping(spec, "allocationPolicy", "network")
    for path, interface in each(policy, "networkInterfaces", "job.allocationPolicy.network"):
        missing = [name for name in ("network", "subnetwork") if name not in interface]
        if interface.get("noExternalIpAddress") is True and missing:
            says = f"is true, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
            remedy = (
                "Set both: global/networks/NAME and regions/REGION/subnetworks/NAME; "
                "the subnetwork needs Private Google Access or Cloud NAT."
            )
            yield refused("network", f"{path}.noExternalIpAddress", True, says, remedy)
        where = re.search(r"regions/([^/]+)/subnetworks/", str(interface.get("subnetwork", "")))
        if where and elsewhere(where[1], asked):
            says = f"is in {where[1]}, and the job runs in {asked.region}."
            remedy = f"Choose a subnetwork of {asked.region}."
            yield refused("network", f"{path}.subnetwork", interface["subnetwork"], says, remedy)


def places(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """VMs may only be kept in the job's own region."""
    path = "job.allocationPolicy.location.allowedLocations"
    for index, place in enumerate(listed(mapping(spec, "allocationPolicy", "location"), "allowedLocations")):
        if isinstance(place, str):
            yield from _place(f"{path}[{index}]", place, asked)


def allowed_regions(spec: Spec) -> list[tuple[str, str]]:
    """``(path, region)`` of each allowed location, a zone's being its region's; what is neither is left out."""
    found, path = [], "job.allocationPolicy.location.allowedLocations"
    for index, place in enumerate(listed(mapping(spec, "allocationPolicy", "location"), "allowedLocations")):
        name = place.rpartition("/")[2] if isinstance(place, str) else ""
        if zone := ZONE.fullmatch(name):
            found.append((f"{path}[{index}]", zone[1]))
        elif REGION.fullmatch(name):
            found.append((f"{path}[{index}]", name))
    return found


def _place(path: str, place: str, asked: Asked) -> Iterator[Finding]:
    kind, _, name = place.rpartition("/")
    kind = kind.rpartition("/")[2]  # a full URL is a location too
    zone = ZONE.fullmatch(name)
    if (kind, bool(zone)) not in (("regions", False), ("zones", True)) or not (zone or REGION.fullmatch(name)):
        says = f"{place!r} is neither regions/REGION nor zones/ZONE."
        remedy = f"Write zones/{name}." if zone else f"Write regions/{name}." if REGION.fullmatch(name) else ""
        yield refused(
            "allowed-locations", path, place, says, remedy or f"Write regions/{asked.region or 'us-central1'}."
        )
        return
    where = zone[1] if zone else name
    if elsewhere(where, asked):
        says = f"{place} is not in {asked.region}, the job's region."
        yield refused(
            "allowed-locations", path, place, says, f"Choose places in {asked.region}, or run the job in {where}."
        )


def elsewhere(where: str, asked: Asked) -> bool:
    """Whether a region is certainly another one than the job's."""
    return isinstance(asked.region, str) and bool(REGION.fullmatch(asked.region)) and where != asked.region


def account(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """VMs act as a service account."""
    email: Any = mapping(spec, "allocationPolicy", "serviceAccount").get("email")
    if email is LATER or not isinstance(email, str) or re.fullmatch(r"[^@\s:/]+@[^@\s:/]+\.[a-z]+", email):
        return
    remedy = "Write its e-mail address, such as name@project.iam.gserviceaccount.com."
    says = f"{email!r} is no service account."
    yield refused("service-account", "job.allocationPolicy.serviceAccount.email", email, says, remedy)
