"""Small images without Docker: this machine's shell and coreutils, its Python if wanted, and files of yours.

For demos and tests. The same machine gives the same digest each time: layers are not compressed, since gzip's bytes
differ between builds of zlib.
"""

from __future__ import annotations

import gzip
import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from airflow_batchstream.emulator.images import closure
from airflow_batchstream.emulator.images.closure import PATH, BuildError
from airflow_batchstream.emulator.images.layout import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Blob, Layout, to_json
from airflow_batchstream.emulator.images.tree import File, Folder, Tree, folder, write_tar
from airflow_batchstream.emulator.images.unpack import this_machine

EPOCH = "1970-01-01T00:00:00Z"
PIECE = 1 << 20
DEFAULT_CMD = ("sh", "-c", "echo hello")
BASE: Tree = {
    "etc/passwd": File(
        b"root:x:0:0:root:/root:/bin/sh\n"
        b"batch:x:1000:1000:batch:/home/batch:/bin/sh\n"
        b"nobody:x:65534:65534:nobody:/:/bin/sh\n"
    ),
    "etc/group": File(b"root:x:0:\nbatch:x:1000:\nnogroup:x:65534:\n"),
    "home/batch": Folder(),
    "root": Folder(0o700),
    "tmp": Folder(0o1777),
}


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What an image shall be.

    :param cmd: the command if the job gives none.
    :param env: added to a ``PATH``.
    :param user: as in a Dockerfile; ``batch`` is user 1000.
    :param add: a file or folder of this machine, and where it shall be; a file goes into a path that ends in ``/``.
    :param python: with this Python and its standard library.
    :param tools: with the shell and coreutils; without, only what is added is in it.
    :param gzip: compress the layers; the digest may then differ between machines.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = DEFAULT_CMD
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)
    add: tuple[tuple[Path, str], ...] = ()
    python: bool = False
    tools: bool = True
    gzip: bool = False


def build(spec: ImageSpec, into: Path, name: str = "") -> str:
    """Build an image as an OCI layout, and tell its manifest's digest.

    :param into: a folder, made where it is missing; an image that was there before is replaced.
    :param name: noted in the layout.
    :raises BuildError: this machine lacks what is needed, or a file to be added cannot be read.
    """
    layout = Layout(into)
    try:
        layout.begin()
        layers = [(says, *_layer(layout, tree, spec.gzip)) for says, tree in _trees(spec)]
    except OSError as error:
        raise BuildError(f"cannot build the image: {error}") from None
    if not layers:
        raise BuildError("the image would have no files: leave the tools in, or add some")
    config = layout.add(lambda file: file.write(to_json(_config(spec, layers))))
    media_type = f"{OCI_LAYER}+gzip" if spec.gzip else OCI_LAYER
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": media_type, "digest": blob.digest, "size": blob.size} for _, blob, _ in layers],
    }
    return layout.finish(to_json(manifest), name, _platform())


def _trees(spec: ImageSpec) -> list[tuple[str, Tree]]:
    """The layers, lowest first, each with the words for the image's history; empty ones left out."""
    trees: list[tuple[str, Tree]] = []
    if spec.tools:
        trees.append(("COPY sh and coreutils of this machine", BASE | closure.tools()))
    if spec.python:
        trees.append(("python3 of the building machine", closure.python()))
    added: Tree = {}
    for source, target in spec.add:
        if not source.exists():
            raise BuildError(f"--add {source}:{target}: there is no {source} on this machine")
        at = posixpath.join(target, source.resolve().name) if target.endswith("/") and not source.is_dir() else target
        if not at.startswith("/") or ".." in at.split("/"):
            raise BuildError(f"--add {source}:{target}: the second path is one inside the image, and starts with /")
        added |= folder(source, at)
    if spec.workdir.strip("/") and not any(path == spec.workdir.strip("/") for _, tree in trees for path in tree):
        added.setdefault(spec.workdir.strip("/"), Folder())
    return [*trees, ("COPY files added by batchstream image build", added)] if added else trees


def _layer(layout: Layout, tree: Tree, compress: bool) -> tuple[Blob, str]:
    """The layer's blob, and the digest of the tar inside."""
    plain = layout.add(lambda file: write_tar(tree, file))
    if not compress:
        return plain, plain.digest

    def packed(file: IO[bytes]) -> None:
        with (
            layout.blob(plain.digest).open("rb") as source,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as target,
        ):
            shutil.copyfileobj(source, target, PIECE)

    blob = layout.add(packed)
    layout.blob(plain.digest).unlink()
    return blob, plain.digest


def _config(spec: ImageSpec, layers: list[tuple[str, Blob, str]]) -> dict[str, Any]:
    runs: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in ({"PATH": PATH} | dict(spec.env)).items()],
        "WorkingDir": spec.workdir,
    }
    more = {"Entrypoint": list(spec.entrypoint), "Cmd": list(spec.cmd), "User": spec.user, "Labels": dict(spec.labels)}
    runs |= {key: value for key, value in more.items() if value}
    return _platform() | {
        "created": EPOCH,
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, _, diff_id in layers]},
        "history": [{"created": EPOCH, "created_by": says} for says, _, _ in layers],
    }


def _platform() -> dict[str, str]:
    here = this_machine()
    return {"architecture": here.architecture, "os": here.os}
