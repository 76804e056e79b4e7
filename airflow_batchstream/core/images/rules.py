"""May this image be streamed? The rules of Google's page on Image streaming that name, manifest and config can answer.

Each rule is a small function from what is known to findings: *holds*, *broken* with the way out, or *could not be
told* with what would tell. :data:`NAME_RULES` need nothing but the name, :data:`IMAGE_RULES` manifest and config, and
so do the rules about layers, which have a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_batchstream.core import words
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.images import locations
from airflow_batchstream.core.images.layer_rules import LAYER_RULES, PLAIN_JOB
from airflow_batchstream.core.images.manifest import Image
from airflow_batchstream.core.images.reference import DOCKER_HUB, Reference
from airflow_batchstream.core.images.repository import Mode

_MOST_BEHIND = 3
"""Repositories behind a virtual one that are named."""
_LONGEST = 2000
"""Characters of a finding that strangers' words may fill."""


def check(image: Image, *, region: str) -> list[Finding]:
    """What all rules say of an image that was found.

    :param region: the job's region.
    """
    whole = image.manifest.schema == 2 and not image.manifest.artifact
    rules = IMAGE_RULES + (LAYER_RULES if whole else ())
    found = [printable(finding) for rule in rules for finding in rule(image)]
    return check_reference(image.reference, region=region) + found


def check_reference(reference: Reference, *, region: str) -> list[Finding]:
    """What can be said of an image by its name, before any registry is asked.

    :param region: the job's region.
    """
    return [finding for rule in NAME_RULES for finding in rule(reference, region)]


def printable(finding: Finding) -> Finding:
    """The finding without control characters: media types and platforms are the registry's words, and may hold any."""
    value = one_line(finding.value) if isinstance(finding.value, str) else finding.value
    return replace(finding, value=value, says=one_line(finding.says), remedy=one_line(finding.remedy))


def one_line(text: str) -> str:
    """A stranger's words, bounded and without control characters."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return words.printable(cut)


def _in_artifact_registry(reference: Reference, region: str) -> list[Finding]:
    rule, shown = "image-in-artifact-registry", str(reference)
    home = f"{region or 'REGION'}-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE"
    if reference.is_artifact_registry:
        return [_holds(rule, shown, f"{reference.registry} is Artifact Registry.")]
    if usual := reference.usual:
        says = (
            f"{reference.registry} is a regional endpoint of Artifact Registry; Google's page on streaming names "
            "LOCATION-docker.pkg.dev only."
        )
        remedy = f"Write {usual}, which is the same image, {PLAIN_JOB}."
    elif reference.is_container_registry:
        says = f"{reference.registry} is Container Registry; only images in Artifact Registry are streamed."
        moved = reference.migrated
        way = f"Migrate it (gcloud artifacts docker upgrade migrate --projects={reference.project_id}) "
        remedy = f"{way if moved else 'Migrate it '}and write {moved or home}, {PLAIN_JOB}."
    else:
        hub = " (a name without a host is Docker Hub's)" if reference.registry == DOCKER_HUB else ""
        says = f"The image is on {reference.registry}{hub}; only images in Artifact Registry are streamed."
        remedy = f"Copy it to {home}, {PLAIN_JOB}."
    return [Finding(rule, Verdict.BROKEN, "image", shown, says, remedy)]


def _complete_name(reference: Reference, region: str) -> list[Finding]:
    if not reference.is_artifact_registry or reference.image_name:
        return []
    says = f"{reference.name} names no image: in Artifact Registry a name has project, repository and image."
    form = f"{reference.registry}/PROJECT/REPOSITORY/IMAGE"
    remedy = f"Write {form}; the id of a domain-scoped project (example.com:project) is written example.com/project."
    return [Finding("image-name-complete", Verdict.BROKEN, "image", str(reference), says, remedy)]


def _location_contains_region(reference: Reference, region: str) -> list[Finding]:
    rule, location = "image-location", reference.location
    if not location:
        return []
    known = locations.covers(location, region)
    if known:
        return [_holds(rule, location, f"The image is in {location}, which contains {region}.")]
    if not region:
        return [
            Finding(rule, Verdict.UNKNOWN, "image", location, "The job's region is not known here.", "Give a region.")
        ]
    there = " or ".join(f"{place}-docker.pkg.dev" for place in locations.locations_for(region))
    remedy = f"Copy the image to {there}, run the job in the image's location, {PLAIN_JOB}."
    if known is None:
        why = locations.not_listed(location, region)
        says = f"Whether the image's location {location} contains the job's region {region} is not known here: {why}"
        way = f"A run would tell, by the time to its first line. To be sure: {remedy[0].lower()}{remedy[1:]}"
        return [Finding(rule, Verdict.UNKNOWN, "image", location, says, way)]
    says = f"The image is in {location}, which does not contain the job's region {region}."
    return [Finding(rule, Verdict.BROKEN, "image", location, says, remedy)]


def _stored_there(image: Image) -> list[Finding]:
    """GKE's page on Image streaming: "standard or remote repositories in Artifact Registry". Batch's names no mode.

    Where the mode was not told, the image is taken for one that is stored where it is asked for, as most are: a scan
    that cannot reach the API, which streaming has nothing to do with, is no worse than one that did not ask.
    """
    rule, repository = "image-repository", image.repository
    if repository is None:
        return []
    if repository.mode is Mode.STANDARD:
        return [_holds(rule, repository.mode, f"{repository.id} is a standard repository.")]
    if repository.mode is Mode.REMOTE:
        says = f"{repository.id} is a remote repository: what it has not cached comes from upstream first."
        return [_holds(rule, repository.mode, says)]
    if repository.mode is None:
        says = f"Taken for a standard or remote one: Artifact Registry's API did not tell ({repository.untold})."
        return [_holds(rule, "not told", says)]
    says = (
        f"{repository.id} is a virtual repository, which stores nothing itself. Google's page for GKE asks for a "
        "standard or a remote one, the page for Batch does not say."
    )
    behind = " or ".join(repository.behind(image.reference)[:_MOST_BEHIND])
    way = f"Name the image where it is stored{f' ({behind})' if behind else ''}, {PLAIN_JOB}."
    return [Finding(rule, Verdict.UNKNOWN, "image", repository.mode, says, way)]


def _is_an_image(image: Image) -> list[Finding]:
    rule, kind = "image-is-an-image", image.manifest.artifact
    if not kind:
        return [_holds(rule, image.manifest_digest, "It is a container image.")]
    says = f"{image.reference} is {kind}, not a container image."
    remedy = "Name the image it belongs to; if it shall be one itself, build and push it again."
    return [Finding(rule, Verdict.BROKEN, "image", kind, says, remedy)]


def _schema_2(image: Image) -> list[Finding]:
    rule, kind = "image-manifest-schema", image.manifest.media_type
    if image.manifest.schema == 2:
        return [] if image.manifest.artifact else [_holds(rule, kind, f"The manifest is {_family(kind)}.")]
    says = "The manifest is Docker's version 2, schema 1, which is not streamed and which containerd 2 does not run."
    again = "push it again with a current Docker, or copy it: skopeo copy --format v2s2 docker://OLD docker://NEW"
    remedy = f"Convert it with batchstream repair, {again}."
    return [Finding(rule, Verdict.BROKEN, "image", kind, says, remedy)]


def _platform(image: Image) -> list[Finding]:
    rule, wanted = "image-platform", image.wanted
    if image.config is None:
        return []
    found = image.config.platform
    if found.fits(wanted):
        return [_holds(rule, str(found), f"The image is for {found}.")]
    if not found.os or not found.architecture:
        says = f"The image's config does not say what it runs on; the job's machines are {wanted}."
        return [Finding(rule, Verdict.UNKNOWN, "image", str(found), says, "Build it with a platform (docker buildx).")]
    says = f"The image is for {found}, the job's machines are {wanted}: its programs would not start."
    remedy = f"Build it for the machines (docker buildx build --platform {wanted}), or choose a machine type that fits."
    return [Finding(rule, Verdict.BROKEN, "image", str(found), says, remedy)]


def of_template(finding: Finding) -> Finding:
    """A finding about the platform where an instance template decides the machines: it could not be told."""
    if finding.rule != "image-platform":
        return finding
    says = "Whether the image is for the job's machines is not known here: an instance template decides it."
    remedy = "Scan it with a machine type of the template's series (machine_type= of a scan task, --machine-type)."
    return replace(finding, verdict=Verdict.UNKNOWN, says=says, remedy=remedy)


def _family(media_type: str) -> str:
    return "Docker's schema 2" if "docker" in media_type else "OCI's"


def _holds(rule: str, value: object, says: str) -> Finding:
    return Finding(rule, Verdict.HOLDS, "image", value, says)


NAME_RULES: tuple[Callable[[Reference, str], list[Finding]], ...] = (
    _in_artifact_registry,
    _complete_name,
    _location_contains_region,
)
IMAGE_RULES: tuple[Callable[[Image], list[Finding]], ...] = (
    _stored_there,
    _is_an_image,
    _schema_2,
    _platform,
)
