"""What a scan costs, counted where the requests arrive: as at a registry that sends blobs itself, and as at Google's.

Artifact Registry answers a request for a blob with 302 and a relative address on the same host,
``/artifacts-downloads/namespaces/...`` (seen by others: ahmetb/serverless-registry-proxy issue 8, sonatype/nexus-public
issue 1061).
"""

from __future__ import annotations

import asyncio
import json
import random

import pytest
import small_images as make
from hostile_registry import Fault, HostileRegistry, status
from starlette.requests import Request
from starlette.responses import Response

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.layers import Inside
from airflow_batchstream.core.images.scanned import Scan
from airflow_batchstream.services.scan import scan, scan_all

NAME = "us-docker.pkg.dev/acme/batch/train"
REPOSITORY = "projects/acme/locations/us/repositories/batch"
DOWNLOADS = "/artifacts-downloads/namespaces/acme/repositories/batch/downloads/"


def ten_gigabytes() -> make.Made:
    """An index, with an image of two layers of 5 GB and two small ones that have to be looked into."""
    small = [bytes(60 * 1024**2), make.tar({"noise": random.Random(1).randbytes(60_000)})]
    made = make.image([make.tar({"a": b"1"}), make.tar({"b": b"2"}), *small])
    manifest = json.loads(made.body)
    for layer in manifest["layers"][:2]:
        layer["size"] = 5_000_000_000
    return make.index((make.Made(made.media_type, make.as_json(manifest), made.blobs), make.AMD64))


def as_at_google(registry: HostileRegistry) -> Fault:
    """Blobs are elsewhere on the same host, at an address that is good by itself."""

    def answer(request: Request) -> Response | None:
        path = request.url.path
        if "/blobs/" in path:
            return Response(b"", 302, headers={"Location": DOWNLOADS + path.rpartition("/")[2]})
        return Response(registry.blobs[path.removeprefix(DOWNLOADS)]) if path.startswith(DOWNLOADS) else None

    return answer


def look(at: HostileRegistry) -> Scan:
    return asyncio.run(scan(f"{NAME}:1", region="us-central1", endpoint=Endpoint.local(at.address)))


class TestAnImageOf10GbWithTwoSmallLayersBehindAnIndex:
    def test_takes_six_requests_and_less_than_256_kib(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, ten_gigabytes(), "1")
        found = look(hostile)
        assert found.image is not None
        assert found.image.size > 10_000_000_000
        assert found.looked_into == {2: Inside.EMPTY, 3: Inside.ENTRIES}
        assert found.requests == len(hostile.seen) == 6
        assert 100_000 < found.bytes_read < 256 * 1024
        assert sorted(seen.path.split("/")[-2] for seen in hostile.seen) == [
            *["blobs"] * 3, *["manifests"] * 2, "repositories",
        ]  # fmt: skip

    def test_takes_nine_where_blobs_are_redirected_as_artifact_registry_does(self, hostile: HostileRegistry) -> None:
        hostile.put(NAME, ten_gigabytes(), "1")
        hostile.always(as_at_google(hostile))
        found = look(hostile)
        assert found.looked_into == {2: Inside.EMPTY, 3: Inside.ENTRIES}
        assert found.requests == len(hostile.seen) == 9
        assert len([seen for seen in hostile.seen if seen.path.startswith(DOWNLOADS)]) == 3
        assert 100_000 < found.bytes_read < 256 * 1024


class TestTheRepositorysKind:
    @pytest.mark.parametrize(
        ("mode", "verdict"),
        [
            ("STANDARD_REPOSITORY", Verdict.HOLDS),
            ("REMOTE_REPOSITORY", Verdict.HOLDS),
            ("VIRTUAL_REPOSITORY", Verdict.UNKNOWN),
        ],
    )
    def test_is_part_of_a_scan(self, hostile: HostileRegistry, mode: str, verdict: Verdict) -> None:
        hostile.put(NAME, make.image(), "1")
        hostile.repositories[REPOSITORY] = make.as_json({"name": REPOSITORY, "mode": mode})
        found = look(hostile)
        (finding,) = (one for one in found.findings if one.rule == "image-repository")
        assert (finding.value, finding.verdict, found.verdict) == (mode, verdict, verdict)

    @pytest.mark.parametrize("code", [401, 403, 404, 500])
    def test_that_is_not_told_spoils_no_scan(self, hostile: HostileRegistry, code: int) -> None:
        made = hostile.put(NAME, make.image(), "1")
        hostile.always(status(code, on="/repositories/"))
        found = look(hostile)
        assert (found.verdict, found.digest) == (Verdict.HOLDS, made.digest)
        assert found.as_dict()["findings"] == []
        (finding,) = (one for one in found.findings if one.rule == "image-repository")
        assert f"(HTTP {code})" in finding.says

    def test_is_asked_once_for_many_images(self, hostile: HostileRegistry) -> None:
        names = [f"{NAME}{i}:1" for i in range(40)]
        for name in names:
            hostile.put(name.removesuffix(":1"), make.image(), "1")
        found = asyncio.run(scan_all(names, region="us-central1", endpoint=Endpoint.local(hostile.address)))
        assert {one.verdict for one in found} == {Verdict.HOLDS}
        assert len([seen for seen in hostile.seen if "/repositories/" in seen.path]) == 1
        assert sorted(one.requests for one in found) == [*[3] * 39, 4]

    def test_of_an_image_that_is_not_there_is_not_asked(self, hostile: HostileRegistry) -> None:
        (found,) = asyncio.run(
            scan_all([f"{NAME}:1"], region="us", endpoint=Endpoint.local(hostile.address), missing_too=True)
        )
        assert found.verdict is Verdict.BROKEN
        assert not [seen for seen in hostile.seen if "/repositories/" in seen.path]
