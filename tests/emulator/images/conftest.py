"""A store, and a real HTTP server over it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from airflow_batchstream.core.images.reference import Reference, parse
from airflow_batchstream.emulator.images.registry import registry_app
from airflow_batchstream.emulator.images.store import Store

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def sha(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "registry")


@dataclass
class Served:
    """A registry on a port of its own."""

    address: str
    store: Store


@pytest.fixture
def registry(store: Store) -> Iterator[Served]:
    config = uvicorn.Config(registry_app(store), host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(f"127.0.0.1:{port}", store)
    server.should_exit = True
    thread.join()


@pytest.fixture
def http(registry: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://{registry.address}/v2", timeout=20) as client:
        yield client


def entry(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    """An entry of a tar; ``type``, ``linkname``, ``mode``, ``uid`` ... as TarInfo has them."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def folder(name: str, mode: int = 0o755, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, mode=mode, **more)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return file.getvalue()


@dataclass
class Images:
    """Puts images of given layers into the store."""

    store: Store
    name: str = "us-docker.pkg.dev/project/repo/image"
    config: dict[str, Any] = field(default_factory=dict)

    def put(
        self,
        *tars: bytes,
        tag: str = "1",
        blobs: list[bytes] | None = None,
        diff_ids: list[str] | None = None,
        architecture: str = "amd64",
    ) -> Reference:
        """An image of these layers.

        :param blobs: what is stored for them, compressed or not; the tars if None.
        """
        blobs = list(tars) if blobs is None else blobs
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids or [sha(layer) for layer in tars]},
        }
        raw = json.dumps(config).encode()
        layer_type = "application/vnd.oci.image.layer.v1.tar+gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": self.store.put_blob(self.name, raw),
                "size": len(raw),
            },
            "layers": [
                {"mediaType": layer_type, "digest": self.store.put_blob(self.name, blob), "size": len(blob)}
                for blob in blobs
            ],
        }
        self.store.put_manifest(self.name, tag, OCI_MANIFEST, json.dumps(manifest).encode())
        return parse(f"{self.name}:{tag}")


@pytest.fixture
def images(store: Store) -> Images:
    return Images(store)


@pytest.fixture
def tars() -> Any:
    """The functions that make tars, for tests: this folder's helpers are not importable."""
    return TarTools


class TarTools:
    entry = staticmethod(entry)
    folder = staticmethod(folder)
    symlink = staticmethod(symlink)
    hard_link = staticmethod(hard_link)
    tar = staticmethod(tar)
    sha = staticmethod(sha)
