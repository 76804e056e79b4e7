"""Every field of a Batch job, and what the local Batch does with it: the one list that the server and its docs go by.

``REAL`` has its effect here. ``IGNORED`` is taken, kept and shown, and changes nothing: there is one machine, and it is
this one. ``REFUSED`` is answered with UNIMPLEMENTED, because the job would not do what it says. ``OUTPUT`` is Batch's
own to fill; what a caller sends there is dropped, as Batch drops it. ``STREAMED`` is real, but Batch itself (not only
this server) ignores it where ``enableImageStreaming`` is on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Treatment(StrEnum):
    """What becomes of a field."""

    REAL = "real"
    IGNORED = "ignored"
    REFUSED = "refused"
    OUTPUT = "output"
    STREAMED = "real, ignored when streamed"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the table.

    :param says: what that means, in one sentence; for REFUSED also what to do.
    """

    treatment: Treatment
    says: str = ""


_R, _I, _X, _O, _S = Treatment.REAL, Treatment.IGNORED, Treatment.REFUSED, Treatment.OUTPUT, Treatment.STREAMED
_GROUP, _TASK, _RUN = "taskGroups", "taskGroups.taskSpec", "taskGroups.taskSpec.runnables"
_SECRET = Field(_X, "There is no Secret Manager here: put a stand-in value into variables.")
_CIPHER = Field(_X, "There is no Key Management Service here: put a stand-in value into variables.")
_MACHINE = Field(_I, "The machine is this one.")
_NFS = Field(_X, "No NFS is mounted here: use a container's volumes.")
_GPU = Field(_I, "A job sees the GPUs that its runtime shows it, if any.")
_PUBSUB = Field(_X, "There is no Pub/Sub here: leave notifications out.")
_NET = Field(_I, "The network is this machine's.")


def _environment(path: str) -> dict[str, Field]:
    return {
        f"{path}.variables": Field(_R, "Later ones win: task, task environment, runnable."),
        f"{path}.secretVariables": _SECRET,
        f"{path}.encryptedVariables.keyName": _CIPHER,
        f"{path}.encryptedVariables.cipherText": _CIPHER,
    }


def _below(path: str, names: str, field: Field) -> dict[str, Field]:
    return {f"{path}.{name}": field for name in names.split()}


_VM = "allocationPolicy.instances.policy"
FIELDS: dict[str, Field] = {
    "name": Field(_O, "Made of parent and job_id."),
    "uid": Field(_O),
    "priority": Field(_I, "Checked to be 0 to 99; jobs do not wait for each other here."),
    f"{_GROUP}.name": Field(_O),
    f"{_RUN}.container.imageUri": Field(_R, "Looked up in the registry of this server, under its full name."),
    f"{_RUN}.container.commands": Field(_R),
    f"{_RUN}.container.entrypoint": Field(_R, "Replaces the image's, and drops its CMD, as Docker does."),
    f"{_RUN}.container.volumes": Field(_R, "Folders of this machine; one that is missing is a new, empty one."),
    f"{_RUN}.container.options": Field(_X, "There is no Docker here. With streaming, Batch and this server ignore it."),
    f"{_RUN}.container.blockExternalNetwork": Field(_S, "Where the runtime isolates."),
    f"{_RUN}.container.username": Field(_I, "The registry of this server wants no login."),
    f"{_RUN}.container.password": Field(_I, "The registry of this server wants no login."),
    f"{_RUN}.container.enableImageStreaming": Field(_R, "Changes which fields count, and what the agent logs."),
    f"{_RUN}.script.path": Field(_R, "A program of this machine."),
    f"{_RUN}.script.text": Field(_R, "Run by /bin/sh, or by what its first line names."),
    f"{_RUN}.barrier.name": Field(_X, "Tasks cannot wait for each other here."),
    f"{_RUN}.displayName": Field(_R, "In the agent's log."),
    f"{_RUN}.ignoreExitStatus": Field(_R),
    f"{_RUN}.background": Field(_R, "Ended a short time after the last other runnable."),
    f"{_RUN}.alwaysRun": Field(_R),
    **_environment(f"{_RUN}.environment"),
    f"{_RUN}.timeout": Field(_R, "TERM, then KILL; exit code 50005."),
    f"{_RUN}.labels": Field(_I),
    **_below(f"{_TASK}.computeResource", "cpuMilli memoryMib bootDiskMib", _MACHINE),
    f"{_TASK}.maxRunDuration": Field(_R, "TERM, then KILL; exit code 50005."),
    f"{_TASK}.maxRetryCount": Field(_R),
    f"{_TASK}.lifecyclePolicies.action": Field(_R),
    f"{_TASK}.lifecyclePolicies.actionCondition.exitCodes": Field(_R),
    f"{_TASK}.environments": Field(_R, "The old name of environment.variables."),
    **_below(f"{_TASK}.volumes.nfs", "server remotePath", _NFS),
    f"{_TASK}.volumes.gcs.remotePath": Field(_R, "STATE_DIR/buckets/REMOTE_PATH stands for the bucket."),
    f"{_TASK}.volumes.deviceName": Field(_R, "A folder stands for the disk, empty for each attempt of a task."),
    f"{_TASK}.volumes.mountPath": Field(_R, "In containers only: a script finds nothing there."),
    f"{_TASK}.volumes.mountOptions": Field(_I),
    **_environment(f"{_TASK}.environment"),
    f"{_GROUP}.taskCount": Field(_R),
    f"{_GROUP}.parallelism": Field(_R, "Within what this server runs at once."),
    f"{_GROUP}.schedulingPolicy": Field(_R, "Tasks start in the order of their index, with either policy."),
    **_environment(f"{_GROUP}.taskEnvironments"),
    f"{_GROUP}.taskCountPerNode": Field(_R, "Tells which tasks share a VM's name."),
    f"{_GROUP}.requireHostsFile": Field(_R, "BATCH_HOSTS_FILE names one host: this one."),
    f"{_GROUP}.permissiveSsh": Field(_I),
    f"{_GROUP}.runAsNonRoot": Field(_X, "Give the image a USER instead."),
    "allocationPolicy.location.allowedLocations": Field(_R, "Must be in the job's region; names the VMs' zone."),
    **_below(_VM, "machineType minCpuPlatform provisioningModel reservation", _MACHINE),
    **_below(f"{_VM}.accelerators", "type count installGpuDrivers driverVersion", _GPU),
    **_below(f"{_VM}.bootDisk", "image snapshot type sizeGb diskInterface", _MACHINE),
    **_below(f"{_VM}.disks.newDisk", "image snapshot type sizeGb diskInterface", _MACHINE),
    **_below(f"{_VM}.disks", "existingDisk deviceName", Field(_I, "See taskGroups.taskSpec.volumes.deviceName.")),
    "allocationPolicy.instances.instanceTemplate": _MACHINE,
    **_below("allocationPolicy.instances", "installGpuDrivers installOpsAgent blockProjectSshKeys", _MACHINE),
    **_below("allocationPolicy.serviceAccount", "email scopes", Field(_I, "Containers get no credentials here.")),
    "allocationPolicy.labels": Field(_I),
    **_below("allocationPolicy.network.networkInterfaces", "network subnetwork noExternalIpAddress nicType", _NET),
    **_below("allocationPolicy.placement", "collocation maxDistance", _MACHINE),
    "allocationPolicy.tags": _NET,
    "labels": Field(_R, "Also on the job's log entries."),
    "status": Field(_O),
    "createTime": Field(_O),
    "updateTime": Field(_O),
    "logsPolicy.destination": Field(_R, "CLOUD_LOGGING, or nothing: then nothing is kept. PATH is refused."),
    "logsPolicy.logsPath": Field(_X, "Use destination CLOUD_LOGGING."),
    "logsPolicy.cloudLoggingOption.useGenericTaskMonitoredResource": Field(_R),
    **_below("notifications", "pubsubTopic message.type message.newJobState message.newTaskState", _PUBSUB),
}  # fmt: skip
"""Path (without list positions and map keys) -> treatment. ``tests/emulator/test_coverage.py`` holds it against
Google's installed client: a field that is new there fails."""


def leaves(message: Any, prefix: str = "") -> Iterator[str]:
    """The paths of all fields that hold values, as they stand in :data:`FIELDS`.

    :param message: a protobuf descriptor.
    """
    for field in message.fields:
        path = f"{prefix}{field.json_name}"
        if FIELDS.get(path, Field(_R)).treatment is _O or not _nested(field):
            yield path
        else:
            yield from leaves(field.message_type, f"{path}.")


def set_fields(message: Any, prefix: str = "", shown: str = "job") -> Iterator[tuple[str, str]]:
    """What a job sets: ``(path in FIELDS, path as people write it, with list positions)``."""
    for field, value in message.ListFields():
        path, place = f"{prefix}{field.json_name}", f"{shown}.{field.json_name}"
        if path in FIELDS or not _nested(field):
            yield path, place
        elif not hasattr(value, "DESCRIPTOR"):  # a list of messages
            for i, item in enumerate(value):
                yield from set_fields(item, f"{path}.", f"{place}[{i}]")
        else:
            yield from set_fields(value, f"{path}.", place)


def _nested(field: Any) -> bool:
    inner = field.message_type
    return bool(inner) and not inner.GetOptions().map_entry and not inner.full_name.startswith("google.protobuf.")
