"""Images of a few hundred bytes, whole or odd, as a registry holds them: for tests of who reads images.

Written without the library's readers, so that one mistake cannot satisfy both sides.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: Mapping[str, bytes], *, padding: int = 0) -> bytes:
    """A tar; without files an empty one, of 10,240 zero bytes as Python and GNU tar write it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue() + bytes(padding)


def gz(data: bytes, level: int = 6) -> bytes:
    return gzip.compress(data, level, mtime=0)


@dataclass
class Made:
    """A manifest or an index with all that hangs below it."""

    media_type: str
    body: bytes
    blobs: dict[str, bytes] = field(default_factory=dict)
    children: list[Made] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return sha256(self.body)


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def image(
    layers: Sequence[bytes] | None = None,
    *,
    architecture: str = "amd64",
    os: str = "linux",
    history: Sequence[Mapping[str, Any]] | None = None,
    layer_type: str = OCI_LAYER,
    annotations: Mapping[str, str] | None = None,
    compressed: Sequence[bytes] | None = None,
    config: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Made:
    """An image of uncompressed layers.

    :param compressed: the layers' blobs, if not plain gzip.
    :param config: keys put over the config.
    :param extra: keys put over the manifest.
    """
    tars = [tar({"etc/greeting": b"hello\n"})] if layers is None else list(layers)
    packed = [gz(data) for data in tars] if compressed is None else list(compressed)
    content = {
        "architecture": architecture,
        "os": os,
        "config": {"Entrypoint": ["/bin/hello"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(data) for data in tars]},
        "history": list(history) if history is not None else [{"created_by": f"step {i}"} for i in range(len(tars))],
    } | dict(config or {})
    body = as_json(content)
    entries = [
        {"mediaType": layer_type, "digest": sha256(blob), "size": len(blob)}
        | ({"annotations": dict(annotations)} if annotations else {})
        for blob in packed
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": sha256(body), "size": len(body)},
        "layers": entries,
    } | dict(extra or {})
    blobs = {sha256(body): body} | {sha256(blob): blob for blob in packed}
    return Made(str(manifest["mediaType"]), as_json(manifest), blobs)


def index(*entries: tuple[Made, Mapping[str, str] | None], extra: Sequence[Mapping[str, Any]] = ()) -> Made:
    """An index of images, each with its platform (``{"os": ..., "architecture": ...}``) or none.

    :param extra: further entries, whose manifests need not exist.
    """
    rows: list[Mapping[str, Any]] = [
        {"mediaType": made.media_type, "digest": made.digest, "size": len(made.body)}
        | ({"platform": dict(platform)} if platform else {})
        for made, platform in entries
    ]
    body = as_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*rows, *extra]})
    return Made(OCI_INDEX, body, children=[made for made, _ in entries])


AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64", "variant": "v8"}
