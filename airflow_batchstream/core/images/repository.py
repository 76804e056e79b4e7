"""What kind of Artifact Registry repository an image is in, which its name does not tell: the API's answer, and a rule.

Sources: the reference of Artifact Registry's API, v1, ``projects.locations.repositories`` (``mode``,
``virtualRepositoryConfig``); GKE, "Use Image streaming": "standard or remote repositories in Artifact Registry" (both
read on 2026-11-25). The page on Image streaming in Batch says "stored in Artifact Registry" and names no mode.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images.reference import Reference

_NAME = re.compile(r"projects/([a-z0-9.:-]+)/locations/([a-z0-9-]+)/repositories/([a-z0-9._-]+)")
_MOST_SHOWN = 3


class Mode(StrEnum):
    """Where a repository's images come from, in the API's words."""

    STANDARD = "STANDARD_REPOSITORY"
    REMOTE = "REMOTE_REPOSITORY"
    VIRTUAL = "VIRTUAL_REPOSITORY"


@dataclass(frozen=True, slots=True)
class Repository:
    """An answer about a repository, or why there is none.

    :param name: its resource name, ``projects/P/locations/L/repositories/R``.
    :param mode: None where it was not told.
    :param upstreams: of a virtual one: the resource names of those behind it, the first asked first.
    :param untold: why there is no mode; empty where there is one.
    """

    name: str
    mode: Mode | None = None
    upstreams: tuple[str, ...] = ()
    untold: str = ""

    @property
    def id(self) -> str:
        """The name's last part."""
        return self.name.rpartition("/")[2]


def resource_name(reference: Reference) -> str | None:
    """``projects/P/locations/L/repositories/R`` of an image's repository; None outside Artifact Registry.

    A domain-scoped project stands there with its colon (``example.com:p``).
    """
    project, place, repository = reference.project_id, reference.location, reference.repository_id
    return (
        f"projects/{project}/locations/{place}/repositories/{repository}" if project and place and repository else None
    )


def read(name: str, body: bytes) -> Repository:
    """The API's answer about the repository of that name; whatever the bytes are, no error."""
    try:
        found = json.loads(body)
        said = found.get("mode") or Mode.STANDARD  # "defaulting to standard", says the API's reference
        if said == "MODE_UNSPECIFIED":
            said = Mode.STANDARD
        if said not in list(Mode):
            return Repository(name, untold=f"it has the mode {str(said)[:60]}, which is not known here")
        return Repository(name, Mode(said), _upstreams(found))
    except (ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return Repository(name, untold="the answer cannot be read")


def _upstreams(found: dict[str, Any]) -> tuple[str, ...]:
    """The names behind a virtual repository: "a greater priority value takes precedence in the pull order"."""
    policies = (found.get("virtualRepositoryConfig") or {}).get("upstreamPolicies") or []
    named = [one for one in policies if isinstance(one, dict) and _NAME.fullmatch(str(one.get("repository")))]
    in_order = sorted(named, key=lambda one: -int(one.get("priority") or 0))
    return tuple(one["repository"] for one in in_order)


def rule(reference: Reference, repository: Repository | None, otherwise: str) -> list[Finding]:
    """What the repository's mode says about streaming.

    Where it was not told, the image is taken for one that is stored where it is asked for, as most are: a scan that
    cannot reach the API, which streaming has nothing to do with, is no worse than one that did not ask.

    :param repository: None where nobody asked.
    :param otherwise: the end of the remedy.
    """
    if repository is None:
        return []
    name, value = "image-repository", str(repository.mode or "not told")
    if repository.mode is Mode.STANDARD:
        return [Finding(name, Verdict.HOLDS, "image", value, f"{repository.id} is a standard repository.")]
    if repository.mode is Mode.REMOTE:
        says = f"{repository.id} is a remote repository: what it has not cached comes from upstream first."
        return [Finding(name, Verdict.HOLDS, "image", value, says)]
    if repository.mode is None:
        says = f"Taken for a standard or remote one: Artifact Registry's API did not tell ({repository.untold})."
        return [Finding(name, Verdict.HOLDS, "image", value, says)]
    says = (
        f"{repository.id} is a virtual repository, which stores nothing itself. Google's page for GKE asks for a "
        "standard or a remote one, the page for Batch does not say."
    )
    behind = " or ".join(_there(reference, upstream) for upstream in repository.upstreams[:_MOST_SHOWN])
    way = f"Name the image where it is stored{f' ({behind})' if behind else ''}"
    return [Finding(name, Verdict.UNKNOWN, "image", value, says, f"{way}, {otherwise}.")]


def _there(reference: Reference, upstream: str) -> str:
    """The image's name in a repository behind a virtual one."""
    found = _NAME.fullmatch(upstream)
    assert found is not None  # read() keeps no others
    project = str(reference.project_id) if found[1].isdigit() else found[1]
    path = f"{project.replace(':', '/')}/{found[3]}/{reference.image_name}"
    return f"{found[2]}-docker.pkg.dev/{path}"
