"""Image names: text -> :class:`Reference`, the first thing that is done with any image.

The grammar is that of the OCI distribution specification and of Docker: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``.
Nothing is guessed: what does not fit is a :class:`ValueError` that says what was probably meant. A name without a host
is Docker Hub's, as everywhere else; that is made visible (``python:3.12`` becomes ``docker.io/library/python:3.12``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 1024
"""Longest name in characters that is looked at; host, path, tag and digest together have fewer."""
MAX_PATH = 255
"""Longest repository path in characters (the limit of the distribution specification's reference implementation)."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}
_ARTIFACT_REGISTRY = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)-docker\.pkg\.dev")
_REGIONAL_ENDPOINT = re.compile(r"docker\.([a-z0-9]+(?:-[a-z0-9]+)*)\.rep\.pkg\.dev")
_CONTAINER_REGISTRY = re.compile(r"(?:(?P<multi>us|eu|asia)\.)?gcr\.io")
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}?|\$[A-Za-z_]\w*|<[^>]*>|\{\{.*|\{[^}]*\}|%\([^)]*\)s")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Reference:
    """The full name of an image; :func:`parse` makes it.

    :param registry: host, with its port if it has one: ``us-docker.pkg.dev``, ``localhost:5000``.
    :param repository: the path below the host: ``project/repository/image``.
    :param tag: what was written after ``:``, or None.
    :param digest: ``sha256:...`` or ``sha512:...``, or None. Where there are both, the digest decides.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Host and path, without tag and digest: what two versions of one image have in common."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or DEFAULT_TAG

    def pinned(self, digest: str) -> Reference:
        """The same image by digest alone: the tag is dropped, since it may move and would then be misleading.

        :raises ValueError: the digest is none.
        """
        return replace(self, tag=None, digest=read_digest(digest))

    @property
    def is_artifact_registry(self) -> bool:
        """Whether the host is Artifact Registry's (``LOCATION-docker.pkg.dev``)."""
        return self.location is not None

    @property
    def location(self) -> str | None:
        """Region or multi-region of an Artifact Registry host (``us-central1``, ``us``), else None."""
        found = _ARTIFACT_REGISTRY.fullmatch(self.registry)
        return found.group(1) if found else None

    @property
    def usual(self) -> str | None:
        """The image's usual name, where this is one of Artifact Registry's regional endpoints; else None.

        ``docker.us-central1.rep.pkg.dev/p/r/i`` is ``us-central1-docker.pkg.dev/p/r/i`` (gcloud knows both as hosts of
        Artifact Registry).
        """
        found = _REGIONAL_ENDPOINT.fullmatch(self.registry)
        return str(replace(self, registry=f"{found.group(1)}-docker.pkg.dev")) if found else None

    @property
    def is_container_registry(self) -> bool:
        """Whether the host is the old Container Registry's (``gcr.io``, ``eu.gcr.io``)."""
        return _CONTAINER_REGISTRY.fullmatch(self.registry) is not None

    @property
    def project_id(self) -> str | None:
        """The Google Cloud project the image is in, or None outside Google's registries.

        A domain-scoped project has a colon in its id and a slash in image names:
        ``us-docker.pkg.dev/example.com/p/...`` is ``example.com:p``. It is told by the dot, which no other id has.
        """
        return self._google_parts()[0]

    @property
    def repository_id(self) -> str | None:
        """The Artifact Registry repository: ``repo`` of ``us-docker.pkg.dev/project/repo/image``."""
        rest = self._google_parts()[1]
        return rest[0] if self.is_artifact_registry and rest else None

    @property
    def image_name(self) -> str | None:
        """The image's name inside its Artifact Registry repository, or None where the name stops short of it."""
        rest = self._google_parts()[1]
        return "/".join(rest[1:]) or None if self.is_artifact_registry else None

    @property
    def migrated(self) -> str | None:
        """Where Google's migration puts a Container Registry image, tag and digest kept; None for any other image.

        ``gcr.io/p/i`` goes to ``us-docker.pkg.dev/p/gcr.io/i``, ``eu.gcr.io`` to ``europe-docker.pkg.dev`` and so on
        (Artifact Registry's documentation, "Transition from Container Registry"; read in 2025).
        """
        found = _CONTAINER_REGISTRY.fullmatch(self.registry)
        project, rest = self._google_parts()
        if not found or not project or not rest:
            return None
        place = {"eu": "europe", "asia": "asia"}.get(found["multi"] or "us", "us")
        path = "/".join([project.replace(":", "/"), self.registry, *rest])
        return str(replace(self, registry=f"{place}-docker.pkg.dev", repository=path))

    def _google_parts(self) -> tuple[str | None, list[str]]:
        """Project id and the rest of the path."""
        if not (self.is_artifact_registry or self.is_container_registry):
            return None, []
        first, *rest = self.repository.split("/")
        if "." not in first:
            return first, rest
        return (f"{first}:{rest[0]}", rest[1:]) if rest else (None, [])


def parse(text: str) -> Reference:
    """Read an image name as people write it into a job.

    :raises ValueError: it is none; the message says which part is wrong and how to write it.
    """
    if not isinstance(text, str):
        raise ValueError(f"an image name is a text, not {type(text).__name__}")
    _refuse_slips(text)
    rest, at, digest = text.partition("@")
    host, rest = _split_host(rest, text)
    path, colon, tag = rest.partition(":")
    _check_path(path, text)
    if colon and not is_tag(tag):
        raise ValueError(_words_for_tag(tag, path, text))
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return Reference(host, path, tag if colon else None, read_digest(digest) if at else None)


def read_digest(text: str) -> str:
    """The digest as it is, if it is one of sha256 or sha512.

    :raises ValueError: it is none.
    """
    algorithm, colon, value = text.partition(":")
    known = _DIGESTS.get(algorithm)
    if known is None or not colon:
        raise ValueError(f"{_show(text)} is no digest: write sha256: and 64 hexadecimal digits")
    if not known.fullmatch(value):
        digits = 64 if algorithm == "sha256" else 128
        raise ValueError(
            f"{_show(text)} is no digest: {algorithm} has {digits} lower-case hexadecimal digits, "
            f"these are {len(value)} characters"
        )
    return text


def is_tag(text: str) -> bool:
    """Whether it can be a tag."""
    return _TAG.fullmatch(text) is not None


def _show(text: str) -> str:
    """The text in quotes, control characters escaped, and cut: it may be a whole file by mistake."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}...")


def _refuse_slips(text: str) -> None:
    """What is no image name at all, before the grammar is asked."""
    if not text:
        raise ValueError("the image name is empty: write HOST/PATH:TAG, as in us-docker.pkg.dev/project/repo/image:1.0")
    if len(text) > MAX_NAME:
        raise ValueError(
            f"{_show(text)} has {len(text):,} characters, an image name has {MAX_NAME:,} at most: write HOST/PATH:TAG"
        )
    if found := _PLACEHOLDER.search(text):
        raise ValueError(f"{_show(text)} still has the placeholder {_show(found.group())}: put its value there")
    if text == "None":
        raise ValueError("the image name is 'None', which a template makes of nothing: see that what it names is there")
    if text[0] in "[(" and text[-1] in "])":
        raise ValueError(
            f"{_show(text)} is a list that became text: pass the list itself (in a Dag the other task's output, or "
            "render_template_as_native_obj=True), or one name"
        )
    if text[0] in "'\"":
        raise ValueError(f"{_show(text)} has quotes around it: remove them")
    if text != text.strip():
        raise ValueError(f"{_show(text)} has a space or a line break at its start or end: remove it")
    if any(c.isspace() for c in text):
        raise ValueError(f"{_show(text)} has a space inside; an image name has none")
    if found := _SCHEME.match(text):
        raise ValueError(f"{_show(text)} starts with {found.group()}: remove that, an image name starts with the host")


def _split_host(name: str, text: str) -> tuple[str, str]:
    """Host and rest. As in Docker, a first part with a dot or a colon is a host, and so is ``localhost``."""
    first, slash, rest = name.partition("/")
    if not slash and _ARTIFACT_REGISTRY.fullmatch(first.lower()):
        raise ValueError(f"{_show(text)} is a host alone: write {first.lower()}/PROJECT/REPOSITORY/IMAGE:TAG")
    if not slash or not (first == "localhost" or "." in first or ":" in first):
        return DOCKER_HUB, name
    if _HOST.fullmatch(first):
        port = first.rpartition(":")[2]
        if ":" in first and port.isdigit() and not 0 < int(port) < 65536:
            raise ValueError(f"{_show(text)}: {port} is no port, the highest is 65535")
        return first, rest
    if _HOST.fullmatch(first.lower()):
        raise ValueError(f"{_show(text)}: the host {_show(first)} has upper-case letters, write {first.lower()}")
    raise ValueError(
        f"{_show(text)}: {_show(first)} is no host name (letters, digits, dots, dashes, then perhaps :PORT)"
    )


def _check_path(path: str, text: str) -> None:
    if not path:
        raise ValueError(f"{_show(text)} names no image: write HOST/PATH:TAG")
    if len(path) > MAX_PATH:
        raise ValueError(f"{_show(text)}: the path has {len(path)} characters, {MAX_PATH} are allowed")
    for part in path.split("/"):
        if _COMPONENT.fullmatch(part):
            continue
        if not part:
            raise ValueError(f"{_show(text)} has an empty part in its path: remove the slash that is too many")
        if _COMPONENT.fullmatch(part.lower()):
            raise ValueError(f"{_show(text)}: the part {_show(part)} has upper-case letters, write {part.lower()}")
        raise ValueError(
            f"{_show(text)}: the part {_show(part)} is not allowed; a part has lower-case letters and digits, "
            "joined by one of . _ __ or dashes"
        )


def _words_for_tag(tag: str, path: str, text: str) -> str:
    if not tag:
        return f"{_show(text)} ends in a colon: write a tag behind it, or remove it"
    if "/" in tag and "." in path:
        joined = f"{path}/{tag.partition('/')[0]}"
        return (
            f"{_show(text)} has a colon inside its path: a domain-scoped project such as {path}:PROJECT is written "
            f"with a slash in image names ({_show(joined)})"
        )
    if "/" in tag:
        return f"{_show(text)} has a colon inside its path: only host:port and the tag at the end have one"
    if tag.startswith(("sha256:", "sha512:")):
        return f"{_show(text)}: a digest is written behind @, not behind a colon"
    return (
        f"{_show(text)}: {_show(tag)} is no tag; a tag has at most 128 letters, digits, dots, dashes and underscores, "
        "and does not start with a dot or a dash"
    )
