"""Where the local Batch keeps images: blobs and manifests by digest, tags as small files, all in one folder.

A repository is named with its registry's host in front (``us-docker.pkg.dev/project/repo/image``), because the one
registry here stands for all of them. Blobs are shared by all repositories, but a repository answers only for those that
were put or mounted into it, as a real registry does. Everything appears by a rename, so a reader never meets half of
anything, and several processes may use one folder.

::

    blobs/sha256/HEX                          bytes of a layer or config
    repositories/HOST/.../IMAGE/_blobs/HEX    this repository has that blob
                               /_manifests/HEX    the manifest; its media type is in _manifests/HEX.type
                               /_tags/TAG     the digest that the tag names
                 HOST/PROJECT/REPOSITORY/_settings    JSON; only where somebody created it
    uploads/UUID                              a blob on its way in
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_batchstream.core.images.manifest import signed_part

MANIFEST_BYTES = 4 << 20
"""What registries take at most for one manifest: the distribution specification asks for at least this."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"[a-z0-9][a-z0-9.:-]*(?:/{_PART})+")


class StoreError(Exception):
    """The store does not do as asked.

    :param code: the distribution specification's name for it (``MANIFEST_UNKNOWN``), which the registry answers with.
    """

    def __init__(self, code: str, message: str, **detail: str) -> None:
        super().__init__(message)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or an index as it was put: its bytes are what the digest is of."""

    digest: str
    media_type: str
    content: bytes


class Store:
    """Images in a folder, which is made where it is missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("blobs/sha256", "repositories", "uploads"):
            (root / name).mkdir(parents=True, exist_ok=True)

    # ---- blobs ----

    def blob(self, digest: str, repository: str | None = None) -> Path:
        """The file that holds a blob.

        :param repository: ask on behalf of this one; None for any.
        :raises StoreError: BLOB_UNKNOWN, DIGEST_INVALID.
        """
        path = self.root / "blobs/sha256" / _hex(digest)
        if not path.is_file() or (repository is not None and not self._mark(repository, digest).exists()):
            raise StoreError("BLOB_UNKNOWN", f"no blob {digest}" + (f" in {repository}" if repository else ""))
        return path

    def put_blob(self, repository: str, content: bytes) -> str:
        """Keep a small blob, and tell its digest."""
        upload = self.upload(repository)
        upload.append([content])
        return upload.finish("sha256:" + hashlib.sha256(content).hexdigest())

    def mount(self, repository: str, digest: str, source: str | None = None) -> bool:
        """Let a repository have a blob that another one has; False if there is none.

        :param source: the other repository; None for any.
        """
        try:
            self.blob(digest, source)
        except StoreError:
            return False
        self._own(repository, digest)
        return True

    def upload(self, repository: str, name: str | None = None) -> Upload:
        """A blob on its way in: a new one, or the one of that name.

        :raises StoreError: BLOB_UPLOAD_UNKNOWN, NAME_INVALID.
        """
        self._repository(repository)
        if name is None:
            name = secrets.token_hex(16)
            (self.root / "uploads" / name).touch(exist_ok=False)
        elif not re.fullmatch(r"[0-9a-f]{32}", name) or not (self.root / "uploads" / name).is_file():
            raise StoreError("BLOB_UPLOAD_UNKNOWN", f"no upload {name}: it was finished, cancelled, or never begun")
        return Upload(self, repository, name)

    # ---- manifests and tags ----

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Read a manifest by tag or digest.

        :raises StoreError: NAME_UNKNOWN, MANIFEST_UNKNOWN, TAG_INVALID.
        """
        folder = self._repository(repository)
        digest = reference
        if ":" not in reference:
            try:
                digest = (folder / "_tags" / _tag(reference)).read_text()
            except FileNotFoundError:
                raise self._unknown(repository, reference) from None
        path = folder / "_manifests" / _hex(digest)
        try:
            return Manifest(digest, path.with_suffix(".type").read_text(), path.read_bytes())
        except FileNotFoundError:
            raise self._unknown(repository, reference) from None

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        """Keep a manifest under a tag or its own digest, and tell the digest.

        :raises StoreError: MANIFEST_INVALID, MANIFEST_BLOB_UNKNOWN, DIGEST_INVALID, SIZE_INVALID, TAG_INVALID.
        """
        folder = self._repository(repository)
        digest = "sha256:" + hashlib.sha256(_without_signatures(content)).hexdigest()
        if ":" in reference and reference != digest:
            raise StoreError("DIGEST_INVALID", f"the manifest's digest is {digest}, not {reference}")
        if len(content) > MANIFEST_BYTES:
            raise StoreError("SIZE_INVALID", f"a manifest may have {MANIFEST_BYTES} bytes, this one has {len(content)}")
        self._check_manifest(repository, media_type, content)
        path = folder / "_manifests" / _hex(digest)
        _write(path.with_suffix(".type"), media_type.encode())
        _write(path, content)
        if ":" not in reference:
            _write(folder / "_tags" / _tag(reference), digest.encode())
        return digest

    def delete_manifest(self, repository: str, reference: str) -> None:
        """Forget a tag; or, by digest, a manifest and all tags that name it."""
        found = self.manifest(repository, reference)
        folder = self._repository(repository)
        if ":" not in reference:
            (folder / "_tags" / reference).unlink(missing_ok=True)
            return
        for tag in self.tags(repository):
            if (folder / "_tags" / tag).read_text() == found.digest:
                (folder / "_tags" / tag).unlink(missing_ok=True)
        path = folder / "_manifests" / _hex(found.digest)
        path.unlink(missing_ok=True)
        path.with_suffix(".type").unlink(missing_ok=True)

    def delete_blob(self, repository: str, digest: str) -> None:
        """Take a blob from a repository; its bytes stay, for others may have it.

        :raises StoreError: BLOB_UNKNOWN.
        """
        self.blob(digest, repository)
        self._mark(repository, digest).unlink(missing_ok=True)

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, sorted.

        :raises StoreError: NAME_UNKNOWN if nothing was ever put there.
        """
        folder = self._repository(repository)
        if not folder.is_dir():
            raise StoreError("NAME_UNKNOWN", f"no repository {repository}")
        with contextlib.suppress(FileNotFoundError):
            return sorted(path.name for path in (folder / "_tags").iterdir() if not path.name.startswith("."))
        return []

    def referrers(self, repository: str, digest: str) -> list[Manifest]:
        """The manifests that name another one as their subject: signatures, bills of materials."""
        folder = self._repository(repository) / "_manifests"
        found = []
        for path in sorted(folder.glob("*.type")) if folder.is_dir() else []:
            manifest = self.manifest(repository, "sha256:" + path.stem)
            subject = json.loads(manifest.content).get("subject")
            if isinstance(subject, dict) and subject.get("digest") == digest:
                found.append(manifest)
        return found

    def repositories(self) -> list[str]:
        """The names of all repositories, sorted."""
        root = self.root / "repositories"
        return sorted({str(path.parent.relative_to(root)) for path in root.rglob("_manifests")})

    # ---- Artifact Registry's repositories, which hold many of those above ----

    def settings(self, home: str) -> bytes | None:
        """What a repository of Artifact Registry was created with, empty JSON if by a push; None if there is none.

        :param home: ``HOST/PROJECT/REPOSITORY``.
        """
        folder = self._repository(home)
        try:
            return (folder / "_settings").read_bytes()
        except FileNotFoundError:
            return b"{}" if folder.is_dir() else None

    def set_up(self, home: str, settings: bytes) -> None:
        """Create a repository of Artifact Registry, or change its settings."""
        _write(self._repository(home) / "_settings", settings)

    # ---- inside ----

    def _check_manifest(self, repository: str, media_type: str, content: bytes) -> None:
        try:
            read = json.loads(content)
        except ValueError as error:
            raise StoreError("MANIFEST_INVALID", f"the manifest is not JSON: {error}") from None
        old = isinstance(read, dict) and read.get("schemaVersion") == 1 and isinstance(read.get("fsLayers"), list)
        if not isinstance(read, dict) or not (old or read.get("schemaVersion") == 2):
            raise StoreError("MANIFEST_INVALID", "the manifest has no schemaVersion 2, nor is it one of schema 1")
        if read.get("mediaType", media_type) != media_type:
            raise StoreError("MANIFEST_INVALID", f"the manifest says it is {read['mediaType']}, not {media_type}")
        for digest in blob_digests(read):
            if not self._mark(repository, digest).exists():
                raise StoreError("MANIFEST_BLOB_UNKNOWN", f"push the blob {digest} before its manifest", digest=digest)
        for entry in read.get("manifests") or ():
            if not (self._repository(repository) / "_manifests" / _hex(str(entry.get("digest")))).exists():
                said = f"push the manifest {entry.get('digest')} before the index that names it"
                raise StoreError("MANIFEST_BLOB_UNKNOWN", said, digest=str(entry.get("digest")))

    def _unknown(self, repository: str, reference: str) -> StoreError:
        if not self._repository(repository).is_dir():
            return StoreError("NAME_UNKNOWN", f"no repository {repository}")
        return StoreError("MANIFEST_UNKNOWN", f"no {reference} in {repository}")

    def _repository(self, name: str) -> Path:
        if len(name) > 255 or not _REPOSITORY.fullmatch(name):
            said = "a host and lower-case words, as in us-docker.pkg.dev/project/repository/image"
            raise StoreError("NAME_INVALID", f"{name!r} is no repository's name: write {said}")
        return self.root / "repositories" / name

    def _mark(self, repository: str, digest: str) -> Path:
        return self._repository(repository) / "_blobs" / _hex(digest)

    def _own(self, repository: str, digest: str) -> None:
        mark = self._mark(repository, digest)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


class Upload:
    """A blob on its way in: pieces are appended, and the digest is checked at the end."""

    def __init__(self, store: Store, repository: str, name: str) -> None:
        self._store = store
        self._path = store.root / "uploads" / name
        self.repository = repository
        self.name = name

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self._path.stat().st_size

    def append(self, pieces: Iterable[bytes]) -> int:
        """Add bytes at the end, and tell how many there are now."""
        with self._path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
        return self.size

    def finish(self, digest: str) -> str:
        """Check the digest, and make it a blob of the repository.

        :raises StoreError: DIGEST_INVALID; the upload is then gone.
        """
        target = self._store.root / "blobs/sha256" / _hex(digest)
        found = hash_file(self._path)
        if found != digest:
            self.cancel()
            raise StoreError("DIGEST_INVALID", f"what arrived has the digest {found}, not {digest}")
        self._path.rename(target)
        self._store._own(self.repository, digest)
        return digest

    def cancel(self) -> None:
        """Forget what has arrived."""
        self._path.unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """A file's digest."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def blob_digests(manifest: dict[str, object]) -> Iterator[str]:
    """The digests of all blobs that a manifest names, those of other servers (``urls``) left out."""
    older = manifest.get("fsLayers")
    for entry in older if isinstance(older, list) else ():
        if isinstance(entry, dict):
            yield str(entry.get("blobSum"))
    layers = manifest.get("layers")
    for entry in (manifest.get("config"), *(layers if isinstance(layers, list) else ())):
        if isinstance(entry, dict) and not entry.get("urls"):
            yield str(entry.get("digest"))


def _without_signatures(content: bytes) -> bytes:
    """The bytes that a manifest's digest is of: of schema 1, which Artifact Registry takes too, not the signatures."""
    return signed_part(content) if b'"fsLayers"' in content else content


def _hex(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise StoreError("DIGEST_INVALID", f"{digest!r} is no digest: write sha256: and 64 hexadecimal digits")
    return digest.removeprefix("sha256:")


def _tag(name: str) -> str:
    if not _TAG.fullmatch(name):
        raise StoreError("TAG_INVALID", f"{name!r} is no tag: letters, digits, '_', '.', '-', 128 at most")
    return name


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(part).rename(path)
