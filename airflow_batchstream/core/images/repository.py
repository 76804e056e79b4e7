"""What kind of Artifact Registry repository an image is in, which its name does not tell: the API's answer.

Source: the reference of Artifact Registry's API, v1, ``projects.locations.repositories`` (``mode``,
``virtualRepositoryConfig``), read on 2026-11-25.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_batchstream.core.images.reference import Reference

_NAME = re.compile(r"projects/([a-z0-9.:-]+)/locations/([a-z0-9-]+)/repositories/([a-z0-9._-]+)")


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

    def behind(self, reference: Reference) -> list[str]:
        """What an image would be called in each of the upstreams, without tag and digest."""
        found = [_NAME.fullmatch(upstream) for upstream in self.upstreams]
        return [_there(reference, *one.groups()) for one in found if one]


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


def _there(reference: Reference, project: str, place: str, repository: str) -> str:
    own = str(reference.project_id) if project.isdigit() else project  # a number is no name's part
    return f"{place}-docker.pkg.dev/{own.replace(':', '/')}/{repository}/{reference.image_name}"
