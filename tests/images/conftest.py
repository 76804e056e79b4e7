"""A local Batch whose registry other programs push to, and what its containers find in the images."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from batch_rest import PARENT, BatchRest
from outside_tools import BASE, Buildah, Docker, Skopeo, Umoci, program, root_only, write_context

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.scanned import Scan
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local, running
from airflow_batchstream.services.scan import scan

_LIST = """
cd / && find . \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./run -o -path ./out \\) -prune \
    -o -printf '%y %m %U:%G %s %i %T@ %P %l\\n' > /out/entries
find . \\( -path ./proc -o -path ./sys -o -path ./dev -o -path ./tmp -o -path ./run -o -path ./out \\) -prune \
    -o -type f -exec sha256sum {} + > /out/contents
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch that has the base that all tools start from: this machine's shell and coreutils."""
    folder = tmp_path_factory.mktemp("outside")
    build(ImageSpec(gzip=True), folder / "base")
    with running(folder / "state", "--grace", "1") as one:
        push(Layout(folder / "base"), parse(BASE), one.address)
        yield one


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is put into images, and a folder for the recipe."""
    return write_context(tmp_path_factory.mktemp("outside") / "context")


@pytest.fixture(scope="session")
def skopeo(local: Local) -> Skopeo:
    return Skopeo(local.address, program("skopeo"))


@pytest.fixture(scope="session")
def umoci(skopeo: Skopeo, tmp_path_factory: pytest.TempPathFactory) -> Umoci:
    return Umoci(skopeo, tmp_path_factory.mktemp("umoci"), program("umoci"))


@pytest.fixture(scope="session")
def buildah(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    path = program("buildah")
    root_only("buildah without a user namespace")
    one = Buildah(local.address, tmp_path_factory.mktemp("buildah") / "storage", path)
    yield one
    one.close()


@pytest.fixture(scope="session")
def docker(local: Local) -> Iterator[Docker]:
    program("dockerd", "docker.io")
    root_only("dockerd")
    folder = Path(tempfile.mkdtemp(prefix="docker-"))  # short, as it holds sockets
    with Docker(local.address, folder).running() as one:
        yield one
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def look(local: Local) -> Callable[..., Scan]:
    """Scan an image of the local Batch's registry."""

    def go(name: str, machine_type: str = "") -> Scan:
        endpoint = Endpoint.local(local.address)
        return asyncio.run(scan(name, region="us-central1", endpoint=endpoint, machine_type=machine_type))

    return go


@pytest.fixture(scope="session")
def trees(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[dict[str, str]]]:
    """Run a job on each image, at once, and tell what file trees their containers saw."""
    if "containers run as plain processes" in local.log.read_text():
        pytest.skip("no runtime isolates here: a container would list all of this machine, not the image's tree")
    batch = BatchRest(local.address)

    def go(*names: str) -> list[dict[str, str]]:
        jobs = []
        for name in names:
            out = tmp_path_factory.mktemp("out")
            container = {"imageUri": name, "commands": ["sh", "-c", _LIST], "volumes": [f"{out}:/out"]}
            jobs.append((_create(local.address, container), out))
        return [_tree(batch, job, out) for job, out in jobs]

    return go


def _create(address: str, container: Mapping[str, object]) -> str:
    job = {"taskGroups": [{"taskSpec": {"runnables": [{"container": container}]}}]}
    url = f"http://{address}/v1/{PARENT}/jobs?jobId=listing-{next(_numbers)}"
    request = urllib.request.Request(url, json.dumps(job).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["name"])


def _tree(batch: BatchRest, job: str, out: Path) -> dict[str, str]:
    """Each path with its kind, mode, owner, size, time, target, content and the paths that are the same file."""
    deadline = time.monotonic() + 60
    while (state := batch.state(job)) not in ("SUCCEEDED", "FAILED"):
        assert time.monotonic() < deadline, f"{job} is {state}"
        time.sleep(0.1)
    assert state == "SUCCEEDED", batch.job(job)["status"]
    contents = {}
    for line in (out / "contents").read_text().splitlines():
        digest, _, path = line.partition("  ./")
        contents[path] = digest
    found: dict[str, str] = {}
    inodes: dict[str, list[str]] = {}
    for line in (out / "entries").read_text().splitlines():
        kind, mode, owner, size, inode, changed, path, target = line.split(" ", 7)
        if path in ("etc/hosts", "etc/hostname", "etc/resolv.conf"):
            continue  # each container is given its own
        inodes.setdefault(inode, []).append(path)
        # A folder's size and time are those of the machine's file system.
        more = "" if kind == "d" else f"{size} {changed} {target} {contents.get(path, '')}"
        found[path] = f"{kind} {mode} {owner} {more}".rstrip()
    for paths in inodes.values():
        for path in paths:
            found[path] += "".join(f" ={other}" for other in sorted(paths) if other != path)
    return found
