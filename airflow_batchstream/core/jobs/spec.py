"""The job that will be sent: the short form merged into the job, and what a job needs filled in.

Second station of a job: :mod:`schema` -> **spec** -> :mod:`rules`. A spec is a dict of canonical JSON; nothing here
changes the one it was given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images.platforms import BY_TEMPLATE
from airflow_batchstream.core.jobs.changes import FILLED, changes
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.schema import conform, conform_field, templated
from airflow_batchstream.core.jobs.secrecy import MASK, masked, secrets

__all__ = [
    "FILLED",
    "MOST_LABELS",
    "Short",
    "build",
    "changes",
    "containers",
    "fill",
    "images",
    "machine_type",
    "masked",
    "secrets",
    "streamed_images",
    "with_images",
]

MOST_LABELS = 64
"""Labels that a job, and what it creates, may have."""


@dataclass(frozen=True, slots=True)
class Short:
    """A job's short form, as the operator's arguments; None or an empty value means not given.

    :param volumes: of the container, ``src:dst`` or ``src:dst:ro``.
    :param max_run_duration: of each task.
    """

    image_uri: Any = None
    commands: Any = None
    entrypoint: Any = None
    environment: Any = None
    volumes: Any = None
    machine_type: Any = None
    task_count: Any = None
    parallelism: Any = None
    max_run_duration: Any = None
    service_account: Any = None
    labels: Any = None


# Argument -> the field of Google's schema whose form it has.
_FORMS = {
    "image_uri": ("Container", "imageUri"),
    "commands": ("Container", "commands"),
    "entrypoint": ("Container", "entrypoint"),
    "environment": ("Environment", "variables"),
    "volumes": ("Container", "volumes"),
    "machine_type": ("InstancePolicy", "machineType"),
    "task_count": ("TaskGroup", "taskCount"),
    "parallelism": ("TaskGroup", "parallelism"),
    "max_run_duration": ("TaskSpec", "maxRunDuration"),
    "service_account": ("ServiceAccount", "email"),
    "labels": ("Job", "labels"),
}
_OF_CONTAINER = ("image_uri", "commands", "entrypoint", "volumes")


def build(job: Any, short: Short, *, path: str = "job", templated_ok: bool = False) -> tuple[Spec, list[Finding]]:
    """Merge the short form into a job, or make a job of it.

    :param job: a mapping in any form that :func:`~airflow_batchstream.core.jobs.schema.conform` reads, or None.
    :param short: what it says wins over the job; mappings merge by key.
    :param path: what the job is called in findings.
    :param templated_ok: leave what Airflow renders later as it is; all the rest is checked.
    :return: the canonical spec, whole only if no finding is BROKEN.
    """
    given, findings = _given(short, templated_ok)
    if job is None:
        if short.image_uri is None and not findings:
            says = "neither a job nor an image is given."
            remedy = "Give job=, job_file= or image_uri=."
            findings.append(Finding("job-missing", Verdict.BROKEN, path, None, says, remedy))
        return (_merged({}, given, path, findings) if given else {}), findings
    spec, found = conform(job, path=path, templated_ok=templated_ok)
    findings = found + findings
    if templated_ok and (
        templated(job) or not isinstance(spec, Mapping) or (not spec and not isinstance(job, Mapping))
    ):
        return {}, findings
    return _merged(spec, given, path, findings), findings


def _given(short: Short, templated_ok: bool) -> tuple[dict[str, Any], list[Finding]]:
    """The arguments that say something, in canonical form."""
    given: dict[str, Any] = {}
    findings: list[Finding] = []
    for name in (field.name for field in fields(short)):
        value = getattr(short, name)
        if value is None or (name != "image_uri" and value in ("", [], (), {})):
            continue
        canonical, found = conform_field(*_FORMS[name], value, path=name, templated_ok=templated_ok)
        findings += found
        if not found:
            if (finding := _refused(name, canonical)) is not None:
                findings.append(finding)
            given[name] = canonical
    return given, findings


def _refused(name: str, canonical: Any) -> Finding | None:
    """What is in the right form and makes no sense as an argument."""
    if name == "image_uri" and canonical == "":
        says, remedy = "is empty.", "Give the image's name, LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG."
    elif name in ("task_count", "parallelism") and isinstance(canonical, str) and canonical.lstrip("-").isdigit():
        if int(canonical) >= 1:
            return None
        says, remedy = f"{canonical} is less than 1.", "Leave the argument out to let Batch decide, or give 1 or more."
    else:
        return None
    return Finding("argument", Verdict.BROKEN, name, canonical, says, remedy)


def _merged(spec: Spec, given: dict[str, Any], path: str, findings: list[Finding]) -> Spec:
    """Put each argument where it belongs. Parts of the job that are still templates are left alone."""
    if labels := given.get("labels"):
        spec["labels"] = _over(spec.get("labels"), labels)
    account = _part(spec, "allocationPolicy", "serviceAccount") if "service_account" in given else None
    if account is not None:
        account["email"] = given["service_account"]
    if machine := given.get("machine_type"):
        _machine(spec, machine, path, findings)
    group = _first(spec, "taskGroups") if given.keys() - {"labels", "service_account", "machine_type"} else None
    if group is None:
        return spec
    group |= {
        key: given[name] for name, key in (("task_count", "taskCount"), ("parallelism", "parallelism")) if name in given
    }
    task = _part(group, "taskSpec")
    if task is None:
        return spec
    if "max_run_duration" in given:
        task["maxRunDuration"] = given["max_run_duration"]
    if any(name in given for name in _OF_CONTAINER):
        _container(task, given, path, findings)
    if environment := given.get("environment"):
        _environment(task, environment, path, findings)
    return spec


def _over(base: Any, top: Any) -> Any:
    return base | top if isinstance(base, dict) and isinstance(top, dict) else top


def _part(parent: dict[str, Any], *names: str) -> dict[str, Any] | None:
    """The mapping under these names, made if it is not there; None where a template stands in its place."""
    for name in names:
        inner = parent.setdefault(name, {})
        if not isinstance(inner, dict):
            return None
        parent = inner
    return parent


def _first(parent: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The first mapping of a list, made if it is not there; None where a template stands in its place."""
    items = parent.setdefault(name, [])
    if not isinstance(items, list):
        return None
    if not items:
        items.append({})
    return items[0] if isinstance(items[0], dict) else None


def _machine(spec: Spec, machine: Any, path: str, findings: list[Finding]) -> None:
    policy = _part(spec, "allocationPolicy")
    instance = _first(policy, "instances") if policy is not None else None
    if instance is None:
        return
    if "instanceTemplate" in instance:
        where = f"{path}.allocationPolicy.instances[0].instanceTemplate"
        says = f"{machine} and {where} both choose the machine."
        findings.append(Finding("argument", Verdict.BROKEN, "machine_type", machine, says, "Keep one of the two."))
    elif (inner := _part(instance, "policy")) is not None:
        inner["machineType"] = machine


def _container(task: dict[str, Any], given: dict[str, Any], path: str, findings: list[Finding]) -> None:
    """``image_uri``, ``commands``, ``entrypoint`` and ``volumes`` belong to the only container runnable."""
    runnables = task.setdefault("runnables", [])
    if not isinstance(runnables, list) or any(not isinstance(one, dict) for one in runnables):
        return
    names = [name for name in _OF_CONTAINER if name in given]
    if not runnables and "image_uri" in given:
        runnables.append({"container": {}})
    found = [index for index, one in enumerate(runnables) if "container" in one]
    if len(found) == 1:
        container = runnables[found[0]]["container"]
        if isinstance(container, dict):
            container.update({_FORMS[name][1]: given[name] for name in names})
        return
    where = f"{path}.taskGroups[0].taskSpec.runnables"
    if found:
        says = f"{where} has {len(found)} containers, and the argument cannot tell which is meant."
        remedy = f"Write it into the job, at {where}[{found[0]}].container.{_FORMS[names[0]][1]} or where it belongs."
    else:
        says = f"{where} has no container that it could belong to."
        remedy = "Leave it out, or add a container runnable." if runnables else "Give image_uri too."
    findings.extend(Finding("argument", Verdict.BROKEN, name, None, says, remedy) for name in names)


def _environment(task: dict[str, Any], environment: Any, path: str, findings: list[Finding]) -> None:
    variables = _part(task, "environment")
    if variables is None:
        return
    variables["variables"] = _over(variables.get("variables"), environment)
    if not isinstance(environment, dict) or not isinstance(task.get("runnables"), list):
        return
    for index, runnable in enumerate(task["runnables"]):
        own = runnable.get("environment", {}) if isinstance(runnable, dict) else {}
        own = own.get("variables", {}) if isinstance(own, dict) else {}
        for key in environment.keys() & own.keys() if isinstance(own, dict) else ():
            where = f"{path}.taskGroups[0].taskSpec.runnables[{index}].environment.variables.{key}"
            says = f"is overridden by {where}, which comes later."
            remedy = "Leave one of the two out."
            findings.append(
                Finding("environment-overridden", Verdict.WARNING, f"environment.{key}", MASK, says, remedy)
            )


def containers(spec: Spec, path: str = "job") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each container runnable with its path; what is still a template is passed over."""
    groups = spec.get("taskGroups")
    for number, group in enumerate(groups if isinstance(groups, list) else []):
        task = group.get("taskSpec") if isinstance(group, dict) else None
        runnables = task.get("runnables") if isinstance(task, dict) else None
        for index, runnable in enumerate(runnables if isinstance(runnables, list) else []):
            container = runnable.get("container") if isinstance(runnable, dict) else None
            if isinstance(container, dict):
                yield f"{path}.taskGroups[{number}].taskSpec.runnables[{index}].container", container


def images(spec: Spec) -> list[tuple[str, str]]:
    """``(path, image_uri)`` of each container runnable that names an image."""
    found = ((f"{path}.imageUri", container.get("imageUri")) for path, container in containers(spec))
    return [(path, uri) for path, uri in found if isinstance(uri, str) and uri]


def streamed_images(spec: Spec) -> list[str]:
    """The images that are to be streamed, each once, of a spec that :func:`fill` has filled."""
    found = (c.get("imageUri") for _, c in containers(spec) if c.get("enableImageStreaming") is True)
    return list(dict.fromkeys(uri for uri in found if isinstance(uri, str) and uri))


def machine_type(spec: Spec) -> str:
    """The machine type of the VMs: empty where Batch chooses, :data:`BY_TEMPLATE` where an instance template does."""
    instances = spec.get("allocationPolicy", {}).get("instances") or [{}]
    if instances[0].get("instanceTemplate"):
        return BY_TEMPLATE
    return str(instances[0].get("policy", {}).get("machineType", ""))


def with_images(spec: Spec, pinned: Mapping[str, str]) -> Spec:
    """A copy with other images: ``{image_uri: the same with its digest}``; those not named stay."""
    out = copy.deepcopy(spec)
    for _, container in containers(out):
        if container.get("imageUri") in pinned:
            container["imageUri"] = pinned[container["imageUri"]]
    return out


def fill(spec: Spec, *, streaming: bool, labels: Mapping[str, str]) -> Spec:
    """A copy with what the job needs, and only what is missing.

    :param streaming: True streams each container that does not say otherwise; False streams none, whatever they say.
    :param labels: put onto the job and onto what it creates, never over a label of the user's; where 64 would be
        passed, the last ones are left out.
    """
    out = copy.deepcopy(spec)
    for _, container in containers(out):
        if streaming:
            container.setdefault("enableImageStreaming", True)
        else:
            container["enableImageStreaming"] = False
    # Batch's own default is to keep no logs at all.
    out.setdefault("logsPolicy", {}).setdefault("destination", "CLOUD_LOGGING")
    for owner in (out, out.setdefault("allocationPolicy", {})):
        mine = owner.setdefault("labels", {})
        for key, value in labels.items():
            if key not in mine and len(mine) < MOST_LABELS:
                mine[key] = value
    return out
