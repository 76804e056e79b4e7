"""An image layout -> a registry, over the OCI distribution API: blobs that it lacks, then the manifest.

Without sign-in: for the local Batch and other registries on this machine. The real Artifact Registry wants tokens,
which ``skopeo`` and ``crane`` know how to get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from airflow_batchstream.core.images.reference import Reference
from airflow_batchstream.emulator.images.layout import Layout

PIECE = 1 << 20
SECONDS = 60.0
"""How long one answer may take."""


class PushError(Exception):
    """The registry did not take the image; the message says why."""


def push(
    layout: Layout, reference: Reference, emulator: str = "", told: Callable[[str], object] = lambda _: None
) -> str:
    """Bring an image to a registry, and tell its digest.

    :param reference: the image's name; a tag names it there, a digest must be the layout's own.
    :param emulator: the local Batch's ``HOST:PORT``, which then stands for the name's registry; empty to talk to that
        registry itself: over HTTP if it is on this machine, else HTTPS.
    :param told: is called with a line for each blob.
    :raises PushError: the registry refuses, or cannot be reached.
    :raises LayoutError: the layout is not whole.
    """
    digest, media_type, manifest = layout.manifest()
    if reference.digest is not None and reference.digest != digest:
        raise PushError(f"the image's digest is {digest}, not {reference.digest}: leave the digest out of the name")
    base = _base(reference, emulator)
    try:
        with httpx2.Client(timeout=SECONDS, follow_redirects=False) as client:
            for blob in layout.blobs():
                had = _push_blob(client, base, blob, layout.blob(blob))
                told(f"{'there' if had else 'pushed'} {blob}")
            # The tag may have been left out: then the image gets the one that its name means.
            address = f"{base}/manifests/{reference.digest or reference.target}"
            answer = client.put(address, content=manifest, headers={"Content-Type": media_type})
            _expect(answer, 201, f"the manifest {digest}")
    except httpx2.HTTPError as error:
        raise PushError(
            f"cannot reach {base}: {error}. Is the local Batch running?" if emulator else f"{base}: {error}"
        ) from None
    return digest


def _base(reference: Reference, emulator: str) -> str:
    if emulator:
        return f"http://{emulator}/v2/{reference.name}"
    host = reference.registry
    local = host.partition(":")[0] in ("localhost", "127.0.0.1") or host.startswith("[::1]")
    return f"{'http' if local else 'https'}://{host}/v2/{reference.repository}"


def _push_blob(client: httpx2.Client, base: str, digest: str, path: Path) -> bool:
    """Whether the registry had it already."""
    if client.head(f"{base}/blobs/{digest}").status_code == 200:
        return True
    begun = client.post(f"{base}/blobs/uploads/")
    _expect(begun, 202, f"an upload to {base}")
    where = httpx2.URL(urljoin(f"{base}/", begun.headers["Location"])).copy_merge_params({"digest": digest})
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
    _expect(client.put(where, content=_pieces(path), headers=headers), 201, f"the blob {digest}")
    return False


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _expect(answer: httpx2.Response, status: int, what: str) -> None:
    if answer.status_code == status:
        return
    try:
        says = "; ".join(f"{error['code']}: {error['message']}" for error in answer.json()["errors"])
    except (ValueError, KeyError, TypeError):
        says = answer.text[:200] or answer.reason_phrase
    way_out = (
        " This registry wants a sign-in: push the layout with `skopeo copy oci:FOLDER docker://NAME`."
        if answer.status_code in (401, 403)
        else ""
    )
    raise PushError(f"the registry did not take {what} ({answer.status_code} {says}).{way_out}")
