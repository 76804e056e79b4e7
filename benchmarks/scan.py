"""A scan of an image against a full pull of the same, in one run, from one registry.

    .venv/bin/python benchmarks/scan.py [--megabytes 1500] [--layers 10]

The image is made here: files of pseudo-random bytes, which do not compress, in layers of one size, and one small layer
that a scan looks into. The registry is the local Batch's, on loopback, so the pull is as quick as it can be; each side
is a process of its own and starts cold. The pull's peer is ``skopeo copy`` into a folder: all blobs once, nothing
unpacked. Requests and bytes of bodies are counted by the server.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images.layout import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Layout, to_json
from airflow_batchstream.emulator.images.registry import registry_app
from airflow_batchstream.emulator.images.repositories import PATH as REPOSITORIES
from airflow_batchstream.emulator.images.repositories import repositories_app
from airflow_batchstream.emulator.images.store import Store

NAME = "us-docker.pkg.dev/acme/batch/large:1"
MIB = 1 << 20
FILES = 50
"""Files of each large layer."""


@dataclass
class Counted:
    """What a server was asked for, and gave."""

    requests: int = 0
    bytes: int = 0


class Counting:
    """An ASGI app around another one, which counts."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.counted = Counted()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.counted.requests += scope["type"] == "http"

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.body":
                self.counted.bytes += len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, sent)


class Rotated(io.RawIOBase):
    """Pseudo-random bytes, quickly: one block, turned a little for each MiB, so that no two files are the same."""

    _BLOCK = random.Random(7).randbytes(MIB) * 2

    def __init__(self, size: int, seed: int) -> None:
        self._left, self._at = size, seed * 104_729

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, into: Any) -> int:
        """The next bytes, a MiB at most."""
        many = min(self._left, MIB, len(into))
        start = self._at % MIB
        self._left -= many
        self._at += 31
        into[:many] = self._BLOCK[start : start + many]
        return many


def make(into: Path, megabytes: int, layers: int) -> Layout:
    """An image of so many MB, as a layout."""
    layout = Layout(into)
    layout.begin()
    each = megabytes * 1_000_000 // layers // FILES

    def large(number: int, file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for index in range(FILES):
                info = tarfile.TarInfo(f"opt/large/{number}/{index}")
                info.size = each
                tar.addfile(info, io.BufferedReader(Rotated(each, number * FILES + index), MIB))

    def small(file: IO[bytes]) -> None:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("opt/small"))

    blobs = [layout.add(partial(large, number)) for number in range(layers)]
    blobs.append(layout.add(small))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in blobs]},
    }
    described = layout.add(lambda file: file.write(to_json(config)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": described.digest, "size": described.size},
        "layers": [{"mediaType": OCI_LAYER, "digest": blob.digest, "size": blob.size} for blob in blobs],
    }
    layout.finish(to_json(manifest), NAME, {"os": "linux", "architecture": "amd64"})
    return layout


def keep(layout: Layout, store: Store) -> None:
    """Put an image into a store, its blobs moved there."""
    name = parse(NAME)
    _, media_type, content = layout.manifest()
    for blob in layout.blobs():
        upload = store.upload(name.name)
        layout.blob(blob).replace(store.root / "uploads" / upload.name)
        upload.finish(blob)
    store.put_manifest(name.name, name.target, media_type, content)


def served(store: Store) -> ASGIApp:
    """What of a local Batch a scan asks: its registry, and Artifact Registry's API."""
    registry, repositories = registry_app(store), repositories_app(store)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (repositories if REPOSITORIES.fullmatch(scope["path"]) else registry)(scope, receive, send)

    return app


@contextmanager
def serving(app: Counting) -> Iterator[str]:
    """The app on loopback; its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def measured(app: Counting, *words: str, env: dict[str, str] | None = None) -> tuple[Counted, float]:
    """What a command took."""
    app.counted = Counted()
    before = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | (env or {}))
    took = time.monotonic() - before
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return app.counted, took


def call(app: Counting, address: str) -> tuple[Counted, float]:
    """A scan from a process that runs already, as a task's is; the scan's own counts must be the server's."""
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.services.scan import scan

    asyncio.run(scan(NAME, region="us-central1", endpoint=Endpoint.local(address)))  # imports what it needs
    app.counted = Counted()
    before = time.monotonic()
    found = asyncio.run(scan(NAME, region="us-central1", endpoint=Endpoint.local(address)))
    took = time.monotonic() - before
    if (found.requests, found.bytes_read) != (app.counted.requests, app.counted.bytes):
        sys.exit(f"the scan counts {found.requests} requests, {found.bytes_read} bytes; the server {app.counted}")
    return app.counted, took


def main() -> None:
    """Make the image, run both sides, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1500)
    parser.add_argument("--layers", type=int, default=10)
    asked = parser.parse_args()
    skopeo = shutil.which("skopeo")
    if not skopeo:
        sys.exit("skopeo is not installed (Debian: apt install skopeo)")
    command = str(Path(sys.executable).parent / "batchstream")
    with tempfile.TemporaryDirectory(prefix="batchstream-scan-") as folder:
        store = Store(Path(folder) / "registry")
        keep(make(Path(folder) / "layout", asked.megabytes, asked.layers), store)
        app = Counting(served(store))
        with serving(app) as address:
            once = call(app, address)
            scan = measured(app, command, "scan", "--region", "us-central1", "--emulator", address, NAME)
            source, target = f"docker://{address}/{NAME}", f"dir:{folder}/pulled"
            plain = ("--insecure-policy", "copy", "--quiet", "--src-tls-verify=false")
            pull = measured(app, skopeo, *plain, source, target)
        kept = sum(path.stat().st_size for path in (Path(folder) / "pulled").iterdir())
        assert kept > asked.megabytes * 999_000, "the pull is not whole"
    rows: list[tuple[str, float, float, float, str]] = [
        ("bytes read", once[0].bytes, scan[0].bytes, pull[0].bytes, "{:,}"),
        ("requests", once[0].requests, scan[0].requests, pull[0].requests, "{:,}"),
        ("seconds", once[1], scan[1], pull[1], "{:.3f}"),
    ]
    print(f"| {asked.megabytes:,} MB in {asked.layers + 1} layers", end=" ")
    print("| scan, in a task | `batchstream scan` | `skopeo copy` | task to pull |\n|---|---:|---:|---:|---:|")
    for name, ours, cold, peer, shape in rows:
        cells = " | ".join(shape.format(value) for value in (ours, cold, peer))
        ratio = peer / ours
        print(f"| {name} | {cells} | 1 : {ratio:,.{0 if ratio > 100 else 1}f} |")


if __name__ == "__main__":
    main()
