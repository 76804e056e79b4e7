"""A small image in a local Batch's registry, brought there as a user brings it: by the command line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

LAYER = "application/vnd.oci.image.layer.v1.tar"


def push_hello(address: str, name: str) -> str:
    """Build an image with a shell in it and push it.

    :param address: the local Batch's ``HOST:PORT``.
    :param name: the image's full name with a tag.
    :return: the pinned reference.
    """
    batchstream = Path(sys.executable).parent / "batchstream"
    done = subprocess.run(
        [batchstream, "image", "build", "--tag", name, "--push"],
        env=os.environ | {"BATCH_EMULATOR_HOST": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def push_with_an_empty_layer(address: str, name: str, source: str, *, duplicate: bool = False) -> None:
    """Push an image once more with an empty layer on top, as ``WORKDIR`` on a folder that exists makes one.

    :param name: another tag of the same image.
    :param source: the one that is there already.
    :param duplicate: with its first layer once more on top of that, as a ``COPY`` written twice makes it: it breaks two
        rules then.
    """
    repository, tag = source.rsplit(":", 1)
    manifest = json.loads(_call(address, "GET", f"{repository}/manifests/{tag}"))
    config = json.loads(_call(address, "GET", f"{repository}/blobs/{manifest['config']['digest']}"))
    layer = bytes(10240)
    added = [({"mediaType": LAYER, "digest": _digest(layer), "size": len(layer)}, _digest(layer), "WORKDIR /")]
    if duplicate:
        added.append((manifest["layers"][0], config["rootfs"]["diff_ids"][0], "COPY tools/ /"))
    for described, diff_id, step in added:
        manifest["layers"].append(described)
        config["rootfs"]["diff_ids"].append(diff_id)
        config.setdefault("history", []).append({"created_by": step})
    body = json.dumps(config).encode()
    manifest["config"] |= {"digest": _digest(body), "size": len(body)}
    tag = name.rsplit(":", 1)[1]
    for blob in (layer, body):
        _call(address, "POST", f"{repository}/blobs/uploads/?digest={_digest(blob)}", blob, "application/octet-stream")
    _call(address, "PUT", f"{repository}/manifests/{tag}", json.dumps(manifest).encode(), manifest["mediaType"])


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _call(address: str, method: str, path: str, body: bytes | None = None, kind: str = "*/*") -> bytes:
    headers = {"Content-Type": kind, "Accept": "application/vnd.oci.image.manifest.v1+json, */*"}
    request = urllib.request.Request(f"http://{address}/v2/{path}", data=body, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())
