"""Rules of Image streaming, and of images: what Batch ignores without a word, or notices on a VM already paid for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import reference
from airflow_batchstream.core.images import rules as image_rules
from airflow_batchstream.core.images.locations import covers, locations_for
from airflow_batchstream.core.jobs.hidden import containers_run
from airflow_batchstream.core.jobs.machine_rules import allowed_regions, elsewhere
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import (
    LATER,
    PLAIN_JOB,
    Asked,
    listed,
    mapping,
    refused,
    runnables,
    tasks,
    warned,
)
from airflow_batchstream.core.jobs.secrecy import MASK, masked_text
from airflow_batchstream.core.jobs.spec import containers

_IGNORED = {
    "options": "Leave it out",
    "username": "Leave it out (the job's service account reads Artifact Registry)",
    "password": "Leave it out (the job's service account reads Artifact Registry)",
    "blockExternalNetwork": "Leave it out",
}


def ignored_fields(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A streamed container has no field that Batch silently ignores; ``false`` and empty are no values."""
    for path, container in containers(spec):
        if not asked.streamed(container):
            continue
        for name, way in _IGNORED.items():
            value = container.get(name)
            if not value or value is LATER:
                continue
            shown = value if name == "blockExternalNetwork" else MASK if name == "password" else masked_text(str(value))
            so = ": the container would have a network all the same" if name == "blockExternalNetwork" else ""
            says = f"is set, and Batch silently ignores it with Image streaming{so}."
            yield refused("streaming-fields", f"{path}.{name}", shown, says, f"{way}, or {PLAIN_JOB}.")


def no_mixing(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A job's containers are all streamed, or none is."""
    found = [(path, asked.streamed(container)) for path, container in containers(spec)]
    streamed = [path.removeprefix("job.") for path, is_streamed in found if is_streamed]
    for path, is_streamed in found:
        if streamed and is_streamed is False:
            says = f"is false, and {streamed[0]} is streamed: Batch allows no mixing in one job."
            remedy = f"Stream both, or {PLAIN_JOB}."
            yield refused("streaming-mixed", f"{path}.enableImageStreaming", False, says, remedy)


def something_to_stream(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Image streaming is about containers."""
    unknown = any(
        group.get("taskSpec") is LATER
        or task.get("runnables") is LATER
        or LATER in listed(task, "runnables")
        or any(LATER in one.values() for _, one in runnables(spec))
        for _, group, task in tasks(spec)
    )
    has_runnables = any(listed(task, "runnables") for _, _, task in tasks(spec))
    if asked.streaming and has_runnables and not unknown and not list(containers(spec)):
        says = "there is no container runnable, so there is nothing to stream."
        remedy = f"Run the program in a container, or {PLAIN_JOB}."
        yield refused("streaming-containers", "job.taskGroups[0].taskSpec.runnables", None, says, remedy)


def hidden_containers(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A container that a script starts itself is pulled by that script: Batch does not know of it, nor does a scan."""
    for path, runnable in runnables(spec) if asked.streaming else ():
        text = mapping(runnable, "script").get("text")
        found = containers_run(text) if isinstance(text, str) else []
        if found:
            line, what = found[0]
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            says = f"starts a container itself ({what}, line {line}{more}): it is neither streamed nor scanned."
            yield warned("hidden-container", f"{path}.script.text", what, says, "Make it a container runnable.")


def image_places(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """A streamed image is where the job's VMs may be. A place outside the job's region is refused on its own."""
    places = [(path, region) for path, region in allowed_regions(spec) if not elsewhere(region, asked)]
    for _, container in containers(spec):
        name = _readable(container.get("imageUri"))
        if not asked.streamed(container) or name is None or not name.location:
            continue
        for path, region in places:
            if region != asked.region and covers(name.location, region) is False:
                says = f"{name} is in {name.location}, which does not contain {region}."
                there = " or ".join(f"{place}-docker.pkg.dev" for place in locations_for(region))
                remedy = f"Copy the image to {there}, leave the place out, or {PLAIN_JOB}."
                yield refused("image-location", path, region, says, remedy)


def _readable(uri: Any) -> reference.Reference | None:
    try:
        return reference.parse(uri) if isinstance(uri, str) else None
    except ValueError:
        return None


def images(spec: Spec, asked: Asked) -> Iterator[Finding]:
    """Each container names an image; a streamed one's is in Artifact Registry, where the job's VMs are."""
    for path, container in containers(spec):
        uri: Any = container.get("imageUri", "")
        if isinstance(uri, str):
            yield from _image(f"{path}.imageUri", uri, asked.streamed(container), asked)


def _image(path: str, uri: str, streamed: bool | None, asked: Asked) -> Iterator[Finding]:
    form = "LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG"
    if not uri.strip():
        yield refused("image-name", path, uri, "no image is named.", f"Write {form}.")
        return
    if unfilled := placeholders(uri):
        says = f"{uri!r} still holds placeholders: {', '.join(unfilled)}."
        remedy = "Put the real values in, as in us-docker.pkg.dev/my-project/my-repository/my-image:1.0."
        yield refused("placeholder", path, uri, says, remedy)
        return
    try:
        name = reference.parse(uri)
    except ValueError as error:
        yield refused("image-name", path, uri, f"{error}.", f"Write it as {form}.")
        return
    if streamed:
        region = asked.region if isinstance(asked.region, str) else ""
        for finding in image_rules.check_reference(name, region=region):
            says = f"{uri!r}: {finding.says}"
            if finding.verdict is Verdict.BROKEN:
                yield replace(finding, path=path, says=says)
            elif finding.verdict is Verdict.UNKNOWN and region:  # a job that is sent off all the same
                yield replace(finding, path=path, says=says, verdict=Verdict.WARNING)


def placeholders(uri: str) -> list[str]:
    """Google's pages write placeholders as bare words: ``LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE:TAG``.

    A name has no upper-case letters, so there they are certain; a tag may have, so there only the usual words count.
    """
    name, _, tag = uri.partition("@")[0].partition(":")
    parts = [part.removesuffix("-docker.pkg.dev") for part in name.split("/")]
    found = [part for part in parts if re.fullmatch(r"[A-Z][A-Z0-9]*([_-][A-Z0-9]+)*", part)]
    return [*found, tag] if tag in ("TAG", "IMAGE_TAG", "VERSION") else found
