"""The command and a local Batch, over the wire: it says what kind of repository an image is in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local

PLACE = "projects/example.com:acme/locations/us/repositories"
HOME = "us-docker.pkg.dev/example.com/acme"


def scan(local: Local, image: str, *words: str) -> subprocess.CompletedProcess[str]:
    batchstream = Path(sys.executable).parent / "batchstream"
    command = [batchstream, "scan", "--region", "us-central1", image, *words]
    env = os.environ | {"BATCH_EMULATOR_HOST": local.address}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def create(local: Local, name: str, **settings: Any) -> None:
    """As at Google, over REST."""
    url = f"http://{local.address}/v1/{PLACE}"
    assert httpx2.post(url, params={"repositoryId": name}, json=settings).json()["done"]


def test_a_scan_tells_standard_remote_and_virtual_repositories(emulator: Local, tmp_path: Path) -> None:
    build(ImageSpec(tools=False, cmd=("none",), add=((Path(__file__), "/file"),)), tmp_path)
    policy = {"id": "std", "repository": f"{PLACE}/std", "priority": 1}
    create(emulator, "hub", mode="REMOTE_REPOSITORY")
    create(emulator, "all", mode="VIRTUAL_REPOSITORY", virtualRepositoryConfig={"upstreamPolicies": [policy]})
    for repository in ("std", "hub", "all"):
        push(Layout(tmp_path), parse(f"{HOME}/{repository}/train:1"), emulator.address)

    for repository, words in (("std", "std is a standard repository."), ("hub", "hub is a remote repository")):
        done = scan(emulator, f"{HOME}/{repository}/train:1")
        assert (done.returncode, words in done.stdout) == (0, True), done.stdout + done.stderr

    done = scan(emulator, f"{HOME}/all/train:1", "--json")
    (image,) = json.loads(done.stdout)["images"]
    (finding,) = image["findings"]
    assert (done.returncode, finding["rule"], finding["value"]) == (3, "image-repository", "VIRTUAL_REPOSITORY")
    assert f"({HOME}/std/train)" in finding["remedy"]
