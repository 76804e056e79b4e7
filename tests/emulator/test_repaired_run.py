"""Images that break the rules, repaired by the command, run on the local Batch: the container sees the same files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from layer_trees import Entry, tar_of

from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout, to_json
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local, running

NAME, OTHER = "europe-docker.pkg.dev/test-project/repo/tool", "europe-docker.pkg.dev/test-project/other/tool"
TWIN = tar_of(
    [
        Entry("t", "dir", mode=0o711),
        Entry("t/gone", "whiteout"),
        Entry("t/f", "file", "from the twin", 0o640, uid=1000),
        Entry("t/hard", "hardlink", "t/f"),
        Entry("t/link", "symlink", "f"),
        Entry("t/d", "dir", mode=0o750, uid=1000),
        Entry("t/o", "opaque"),
        Entry("t/o/own", "file", "own"),
    ]
)
BELOW = tar_of(
    [
        Entry("t/gone", "file", "below"),
        Entry("t/d/below", "file", "below", 0o600),
        Entry("t/o/hidden", "file", "below"),
    ]
)
BETWEEN = tar_of(
    [
        Entry("t/d", "dir", mode=0o700),
        Entry("t/f", "file", "from between", 0o755),
        Entry("t/link", "whiteout"),
        Entry("t/gone", "file", "made anew"),
        Entry("t/o/between", "file", "between"),
        Entry("t/only", "file", "between", 0o4711),
    ]
)
EMPTY, ALSO_EMPTY = bytes(1024), bytes(10240)
LAYERS = [BELOW, EMPTY, TWIN, BETWEEN, ALSO_EMPTY, TWIN, EMPTY]
LOOK = (
    "find / -xdev -path /proc -prune -o -path /dev -prune -o -path /tmp -prune -o "
    "-printf '%p %y %m %U:%G %n %s %l\\n'; find /t -type f -exec sha256sum {} +; find /t -type f -printf '%p %T@\\n'"
)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch that has the image, with the best runtime of this machine."""
    folder = tmp_path_factory.mktemp("image")
    build(ImageSpec(), folder, NAME)
    layout = Layout(folder)
    manifest = json.loads(layout.manifest()[2])
    config = json.loads(layout.blob(manifest["config"]["digest"]).read_bytes())
    for layer in LAYERS:
        blob = layout.add(lambda file, layer=layer: file.write(layer))  # type: ignore[misc]
        manifest["layers"].append(manifest["layers"][0] | {"digest": blob.digest, "size": blob.size})
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(layer).hexdigest())
    kept = layout.add(lambda file: file.write(to_json(config)))
    manifest["config"] |= {"digest": kept.digest, "size": kept.size}
    layout.finish(to_json(manifest), "", {"os": "linux", "architecture": config["architecture"]})
    with running(tmp_path_factory.mktemp("state"), "--grace", "1") as started:
        push(layout, parse(f"{NAME}:1"), started.address)
        yield started


def command(local: Local, *words: str) -> subprocess.CompletedProcess[str]:
    batchstream = Path(sys.executable).parent / "batchstream"
    env = os.environ | {"BATCH_EMULATOR_HOST": local.address}
    return subprocess.run([batchstream, *words], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", [f"{NAME}:2", f"{OTHER}:2"], ids=["in the same repository", "in another repository"])
def test_a_container_sees_the_same_files(
    local: Local, connect: Callable[..., Any], logs_of: Callable[[Local], Any], target: str
) -> None:
    done = command(local, "repair", f"{NAME}:1", target, "--json")
    assert done.returncode == 0, done.stderr
    repaired = json.loads(done.stdout)
    assert [dropped["why"] for dropped in repaired["images"][0]["dropped"]] == ["empty", "duplicate", "empty", "empty"]
    client, seen = connect(local), {}
    for image in (f"{NAME}:1", repaired["pinned"]):
        runnable = {"container": {"image_uri": image, "entrypoint": "sh", "commands": ["-c", LOOK]}}
        policy = {"destination": "CLOUD_LOGGING"}
        job = client.run({"task_groups": [{"task_spec": {"runnables": [runnable]}}], "logs_policy": policy})
        assert job.status.state.name == "SUCCEEDED"
        seen[image] = sorted(logs_of(local).lines(job))
    before, after = seen.values()
    assert after == before
    told = "\n".join(before)
    for there in ("/t/f f 640", "/t/hard f 640", "/t/link l", "/t/d/below", "/t/o/own", "/t/only"):
        assert there in told
    for gone in ("/t/gone", "/t/o/hidden", "/t/o/between"):
        assert f"{gone} " not in told
