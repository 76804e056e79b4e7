"""A repair that is killed at any of its writes: nothing half done under the tag, and the next run finishes it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_images as make
from writable_registry import WritableRegistry

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.images.repaired import Repair
from airflow_batchstream.services.repair import repair

NAME, OTHER = "us-docker.pkg.dev/acme/batch/train", "us-docker.pkg.dev/acme/elsewhere/train"
A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2"}), make.tar({})
WRITES = 8
"""Of the image below: a mount, a config in two requests, a manifest; two mounts and a manifest; the index."""
POINTS = [*((number, False) for number in range(WRITES)), (0, True), (3, True), (WRITES - 1, True)]
"""The write that gets no answer, and whether it is done all the same."""


@pytest.fixture
def registry(registry: WritableRegistry) -> WritableRegistry:
    """With an image for two platforms, one of which needs a repair."""
    amd, arm = make.image([A, EMPTY, A]), make.image([B], architecture="arm64")
    registry.put(NAME, make.index((amd, make.AMD64), (arm, make.ARM64)))
    return registry


def start(at: WritableRegistry) -> subprocess.Popen[str]:
    command = [Path(sys.executable).parent / "batchstream", "repair", f"{NAME}:1", f"{OTHER}:2"]
    return subprocess.Popen(
        command,
        env=os.environ | {"BATCH_EMULATOR_HOST": at.address},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(at: WritableRegistry) -> Repair:
    return asyncio.run(repair(f"{NAME}:1", f"{OTHER}:2", endpoint=Endpoint.local(at.address)))


def whole(at: WritableRegistry) -> bool:
    """Whether all that the tag names is there."""
    for row in at.document(OTHER, "2")["manifests"]:
        document = at.document(OTHER, row["digest"])
        for blob in [document["config"], *document["layers"]]:
            at.store.blob(blob["digest"], OTHER)
    return True


@pytest.mark.parametrize(("number", "done"), POINTS)
def test_a_kill_at_a_write(registry: WritableRegistry, number: int, done: bool) -> None:
    source = registry.tags(NAME)
    registry.stall(number, done=done)
    process = start(registry)
    assert registry.stalled.wait(60), process.communicate()[0]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    last = number == WRITES - 1
    assert registry.writes[-1] == "PUT manifests/2" if last else registry.writes[-1] != "PUT manifests/2"
    assert ("2" in registry.tags(OTHER)) == (last and done)
    assert finish(registry).written == (not (last and done))
    assert whole(registry)
    assert registry.tags(NAME) == source


def test_there_are_as_many_writes_as_are_tried_here(registry: WritableRegistry) -> None:
    finish(registry)
    assert len(registry.writes) == WRITES
