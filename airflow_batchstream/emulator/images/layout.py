"""An image on disk as the OCI image specification lays it out: what the builder writes, and what is pushed.

::

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            names the image's manifest
    blobs/sha256/HEX      manifest, config, layers
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from airflow_batchstream.emulator.images.store import blob_digests

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
REF_NAME = "org.opencontainers.image.ref.name"


class LayoutError(ValueError):
    """The folder is no image layout, or not a whole one."""


def to_json(value: Any) -> bytes:
    """The same bytes for the same value, always."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in a layout."""

    digest: str
    size: int


class Layout:
    """An image layout in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # ---- writing ----

    def begin(self) -> None:
        """Make it an empty layout; what was built here before stays as blobs."""
        (self.folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.folder / "oci-layout").write_bytes(to_json({"imageLayoutVersion": "1.0.0"}))

    def add(self, write: Callable[[IO[bytes]], object]) -> Blob:
        """Keep what ``write`` writes as a blob."""
        folder = self.folder / "blobs/sha256"
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
            part = Path(file.name)
            try:
                write(file)
                file.flush()
                size = file.tell()
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                part.chmod(0o644)
                part.rename(folder / digest)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        return Blob(f"sha256:{digest}", size)

    def finish(self, manifest: bytes, name: str, platform: dict[str, str]) -> str:
        """Keep the manifest, and make it the layout's only image; its digest."""
        blob = self.add(lambda file: file.write(manifest))
        entry = {"mediaType": OCI_MANIFEST, "digest": blob.digest, "size": blob.size, "platform": platform}
        if name:
            entry["annotations"] = {REF_NAME: name}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        (self.folder / "index.json").write_bytes(to_json(index))
        return blob.digest

    # ---- reading ----

    def manifest(self) -> tuple[str, str, bytes]:
        """Digest, media type and bytes of the layout's only image.

        :raises LayoutError: there is none, or there are several.
        """
        try:
            index = json.loads((self.folder / "index.json").read_bytes())
            entries = index["manifests"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LayoutError(
                f"{self.folder} is no OCI image layout: its index.json cannot be read ({error})"
            ) from None
        if len(entries) != 1:
            raise LayoutError(f"{self.folder} holds {len(entries)} images: a layout with one is needed")
        content = self.blob(entries[0]["digest"]).read_bytes()
        return entries[0]["digest"], entries[0]["mediaType"], content

    def blob(self, digest: str) -> Path:
        """The file of a blob.

        :raises LayoutError: the layout lacks it.
        """
        path = self.folder / "blobs" / digest.replace(":", "/")
        if not path.is_file():
            raise LayoutError(f"the image layout {self.folder} lacks the blob {digest}")
        return path

    def blobs(self) -> Iterator[str]:
        """The digests of config and layers, each once."""
        _, _, content = self.manifest()
        yield from dict.fromkeys(blob_digests(json.loads(content)))
