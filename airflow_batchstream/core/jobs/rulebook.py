"""What all rules of jobs share: what is asked, and how to look at a spec that may still hold templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.schema import templated

PLAIN_JOB = "run it as a plain job with enable_image_streaming=False"


class Later:
    """Stands for a value that Airflow renders later: neither text nor number, so every rule passes it over."""


LATER = Later()


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rules are asked about beside the spec.

    :param project_id: None or empty if there is none.
    :param job_id: None or empty for a computed one.
    :param streaming: the argument ``enable_image_streaming``.
    :param airflow_retries: of the task.
    :param templated_ok: the Dag is being parsed: what is missing or a template may still come.
    """

    project_id: str | None
    region: str | None
    job_id: str | None
    streaming: bool
    airflow_retries: int = 0
    templated_ok: bool = False

    def streamed(self, container: Mapping[str, Any]) -> bool | None:
        """Whether this container will be streamed; None if that is not known yet."""
        if not self.streaming:
            return False
        says = container.get("enableImageStreaming", True)
        return says if isinstance(says, bool) else None


def without_templates(value: Any) -> Any:
    """A copy in which :data:`LATER` stands for each template and each object that is no JSON."""
    if isinstance(value, dict):
        return {key: without_templates(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_templates(inner) for inner in value]
    return LATER if templated(value) or not isinstance(value, str | int | float | None) else value


def refused(rule: str, path: str, value: object, says: str, remedy: str) -> Finding:
    """A broken rule."""
    return Finding(rule, Verdict.BROKEN, path, value, says, remedy)


def warned(rule: str, path: str, value: object, says: str, remedy: str) -> Finding:
    """What is allowed, but probably not what was meant."""
    return Finding(rule, Verdict.WARNING, path, value, says, remedy)


def mapping(parent: Any, *names: str) -> dict[str, Any]:
    """The mapping under these names; empty where there is none."""
    for name in names:
        parent = parent.get(name) if isinstance(parent, dict) else None
    return parent if isinstance(parent, dict) else {}


def listed(parent: Any, name: str) -> list[Any]:
    """The list under this name; empty where there is none."""
    found = parent.get(name) if isinstance(parent, dict) else None
    return found if isinstance(found, list) else []


def each(parent: Any, name: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings in the list under this name, each with its path."""
    for index, item in enumerate(listed(parent, name)):
        if isinstance(item, dict):
            yield f"{path}.{name}[{index}]", item


def tasks(spec: Spec) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """``(path of the group, group, its task spec)`` of each task group."""
    for path, group in each(spec, "taskGroups", "job"):
        yield path, group, mapping(group, "taskSpec")


def runnables(spec: Spec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each runnable with its path."""
    for path, _, task in tasks(spec):
        yield from each(task, "runnables", f"{path}.taskSpec")


def number(value: Any) -> int | None:
    """A canonical int32 or int64 as a number; None if it is unset or still a template."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else None


def count(many: int, what: str) -> str:
    """``1 task``, ``3 tasks``."""
    return f"{many:,} {what}" if many == 1 else f"{many:,} {what}s"
