"""Images that run, and that break a rule of Image streaming: a built one with a layer more."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from airflow_batchstream.emulator.images.layout import Layout, to_json


def empty_tar() -> bytes:
    """A tar without an entry, as builders write it for a step that changed nothing."""
    out = io.BytesIO()
    tarfile.open(fileobj=out, mode="w").close()
    return out.getvalue()


def with_layer(source: Path, folder: Path, layer: bytes | None = None, packed: bytes = b"") -> Layout:
    """The image of a layout with a layer on top.

    :param layer: a tar; None for the image's own first layer once more.
    :param packed: the tar compressed, if it shall be; its media type stays wrong.
    """
    shutil.copytree(source, folder)
    layout = Layout(folder)
    manifest = json.loads(layout.manifest()[2])
    config = json.loads(layout.blob(manifest["config"]["digest"]).read_bytes())
    if layer is None:
        manifest["layers"].append(manifest["layers"][0])
        config["rootfs"]["diff_ids"].append(config["rootfs"]["diff_ids"][0])
    else:
        blob = layout.add(lambda file: file.write(packed or layer))
        manifest["layers"].append(manifest["layers"][0] | {"digest": blob.digest, "size": blob.size})
        config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(layer).hexdigest())
    kept = layout.add(lambda file: file.write(to_json(config)))
    manifest["config"] |= {"digest": kept.digest, "size": kept.size}
    layout.finish(to_json(manifest), "", {"os": "linux", "architecture": config["architecture"]})
    return layout
