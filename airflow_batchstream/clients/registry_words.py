"""What a registry's refusal means, in words that say what to do. Part of :mod:`.registry`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

from airflow_batchstream.clients.fetch import PASSING, Answer, FetchError
from airflow_batchstream.clients.tokens import may_pass, reason
from airflow_batchstream.core.errors import ImageRefused, NoCredentials
from airflow_batchstream.core.images.reference import Reference
from airflow_batchstream.core.words import quoted

_MOST_TAGS = 3
_PUSH_IT = "Push it, or write a name that is there."
_EXPIRED = "The credentials of the Google connection are expired or revoked: renew them."
_GIVE_SOME = "Give credentials that may read it: Google's are sent to Google's registries alone."


def no_answer(reference: Reference, what: str, was: str, error: FetchError) -> ImageRefused:
    """The error where there is no answer that may be used.

    :param what: was asked for: "the manifest".
    :param was: not done: "read", "answered".
    """
    end = f" {error.remedy}" if error.remedy else " A retry can help." if error.passing else ""
    says = f"{reference}: {what} was not {was}: {error}.{end}"
    return ImageRefused(says, retryable=error.passing, untold=bool(error.remedy), remedy=error.remedy)


def no_token(reference: Reference, error: Exception) -> ImageRefused:
    """The error where the credentials give no access token.

    :param error: what their library raised, or :class:`NoCredentials`, whose words are told as they are.
    """
    says = f"the Google connection gave no access token for the registry ({reason(error)})."
    remedy, passing = "Look after the credentials of the Google connection; until then nothing tells.", may_pass(error)
    if isinstance(error, NoCredentials):
        says, remedy = error.says, error.remedy
    elif passing:
        remedy = "A retry can help."
    return ImageRefused(f"{reference}: {says} {remedy}", retryable=passing, untold=True, remedy=remedy)


def refusal(
    reference: Reference, answer: Answer, what: str, *, authorized: bool, writing: bool = False
) -> ImageRefused:
    """The error for a status that is no success.

    :param what: was asked for: "the manifest".
    :param authorized: whether a token was sent.
    :param writing: whether it was to be written, not read.
    """
    said = _said(answer)
    status = answer.status
    if status in PASSING:
        slow = "asks for fewer requests" if status == 429 else "has trouble of its own"
        words = f"{answer.host} {slow} (HTTP {status}) and did not recover in several tries.{said} A retry can help."
        return ImageRefused(f"{reference}: {words}", retryable=True)
    if status == 401:
        why = "the access token was not accepted" if authorized else "it wants credentials and none were sent"
        says, remedy = f"{answer.host} refused {what} (HTTP 401): {why}.{said}", _EXPIRED if authorized else _GIVE_SOME
        return ImageRefused(f"{reference}: {says} {remedy}", remedy=remedy)
    if status == 403:
        doing, role = ("writing", "writer") if writing else ("reading", "reader")
        needs = _missing_role(reference, role)
        return ImageRefused(f"{reference}: {doing} {what} is not allowed (HTTP 403).{said} {needs}", remedy=needs)
    if status == 404 and writing and b"NAME_UNKNOWN" in answer.body:
        return ImageRefused(f"{reference}: its repository does not exist (HTTP 404). {_created(reference)}{said}")
    if status == 404:
        return ImageRefused(f"{reference}: {answer.host} does not have {what} (HTTP 404).{said}")
    return ImageRefused(f"{reference}: {answer.host} answered {what} with HTTP {status}, which was not expected.{said}")


def immutable(reference: Reference, answer: Answer, tag: str) -> ImageRefused | None:
    """The error where a tag was not moved since the repository's tags are immutable; None where it was not for that.

    Artifact Registry says so with 400 and "The repository has enabled tag immutability", others with 409 or 412.
    """
    if answer.status in PASSING or answer.status == 401 or b"immutab" not in answer.body.lower():
        return None
    why = f"the tag is immutable: {answer.host} did not move it (HTTP {answer.status}), and will not."
    return ImageRefused(f"{reference.name}:{tag}: {why} Write another tag.{_said(answer)}")


def no_image(reference: Reference, answer: Answer) -> ImageRefused:
    """The error for an image that the registry knows in no version."""
    where = f"host {reference.registry}"
    if reference.is_artifact_registry:
        where = f"project {reference.project_id}, location {reference.location}, repository {reference.repository_id}"
    missing = f"there is no image {reference.name} (HTTP 404)"
    says = f"{reference}: {missing}; it was looked for in {where}.{_said(answer)} {_PUSH_IT}"
    return ImageRefused(says, missing=True, remedy=_PUSH_IT)


def of_a_registry(answer: Answer) -> bool:
    """Whether a 404 may come from a registry, which answers in JSON or says nothing, and not from a web server."""
    try:
        return not answer.body or json.loads(answer.body) is not None
    except (ValueError, RecursionError):
        return False


def of_another(reference: Reference, answer: Answer) -> ImageRefused:
    """The error for a 404 that is a web server's own: it says nothing of the image."""
    remedy = f"See what answers at {answer.host}: a proxy or a gateway before it, most likely (HTTPS_PROXY)."
    says = f"{reference}: {answer.host} answered the manifest with HTTP 404, but not as a registry does. {remedy}"
    return ImageRefused(says, untold=True, remedy=remedy)


def no_version(reference: Reference, target: str, answer: Answer, tags: Sequence[str]) -> ImageRefused:
    """The error for an image that is there, but not in this version.

    :param target: what was asked for: a tag, or the digest of an image or of an entry of its index.
    """
    if ":" in target:
        gone = "it may have been deleted (a cleanup policy does that to untagged versions)"
        words = f"the image has no version {target} (HTTP 404); {gone}.{_said(answer)}"
        return ImageRefused(f"{reference}: {words} {_PUSH_IT}", missing=True, remedy=_PUSH_IT)
    unsaid = "" if reference.tag else " (none was written, so latest was looked for)"
    missing = f"the image has no tag {target}{unsaid} (HTTP 404)"
    says = f"{reference}: {missing}. {_nearest(target, tags)} {_PUSH_IT}"
    return ImageRefused(says, missing=True, remedy=_PUSH_IT)


def _nearest(target: str, tags: Sequence[str]) -> str:
    near = difflib.get_close_matches(target, tags, n=_MOST_TAGS, cutoff=0.4)
    if near:
        return f"The nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}."
    if not tags:
        return "It has no tag at all: name it by its digest."
    some = ", ".join(tags[-_MOST_TAGS:])
    return f"It has {some}." if len(tags) <= _MOST_TAGS else f"It has {len(tags)} others, such as {some}."


def _missing_role(reference: Reference, role: str) -> str:
    if not reference.is_artifact_registry:
        return f"The account needs the right to {'write' if role == 'writer' else 'read'} there."
    place = f"projects/{reference.project_id}/locations/{reference.location}/repositories/{reference.repository_id}"
    return (
        f"The account of the Google connection needs roles/artifactregistry.{role} on {place}, and the project the "
        "Artifact Registry API; a repository that does not exist is answered the same way."
    )


def _created(reference: Reference) -> str:
    if not reference.is_artifact_registry:
        return "Create it first."
    place = f"--location={reference.location} --project={reference.project_id}"
    command = f"gcloud artifacts repositories create {reference.repository_id} --repository-format=docker {place}"
    return f"Create it first ({command})."


def _said(answer: Answer) -> str:
    """The registry's own words, cut, on one line, or nothing.

    Only an error in the form of the distribution specification is one: any other body may be a config, with what is
    secret in its environment, under a status that was not expected.
    """
    try:
        first = json.loads(answer.body.decode("utf-8", "replace"))["errors"][0] if answer.status >= 400 else {}
        text = ": ".join(str(first[key]) for key in ("code", "message") if first.get(key))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    clean = quoted(text)
    return f' It said: "{clean}".' if clean else ""
