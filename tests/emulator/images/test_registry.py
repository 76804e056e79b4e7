"""The OCI distribution API over HTTP, by hand and by skopeo."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airflow_batchstream.emulator.images.build import ImageSpec, build

NAME = "us-docker.pkg.dev/project/repo/image"
MISSING = "sha256:" + "0" * 64


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def put(http: httpx2.Client, content: bytes, sha: Any, name: str = NAME) -> str:
    digest = sha(content)
    answer = http.post(f"/{name}/blobs/uploads/", params={"digest": digest}, content=content)
    assert answer.status_code == 201
    return str(digest)


@pytest.fixture
def sha() -> Any:
    import hashlib

    return lambda content: "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def manifest(http: httpx2.Client, sha: Any) -> bytes:
    """Of an image whose config is there."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": put(http, b"{}", sha), "size": 2}
    kind = "application/vnd.oci.image.manifest.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).encode()


def put_manifest(http: httpx2.Client, reference: str, content: bytes, name: str = NAME) -> httpx2.Response:
    headers = {"Content-Type": json.loads(content)["mediaType"]}
    return http.put(f"/{name}/manifests/{reference}", content=content, headers=headers)


class TestVersion:
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_it_says_that_it_is_a_registry(self, http: httpx2.Client, method: str) -> None:
        answer = http.request(method, "/")
        assert (answer.status_code, answer.headers["Docker-Distribution-API-Version"]) == (200, "registry/2.0")


class TestUploads:
    def test_in_one_post(self, http: httpx2.Client, sha: Any) -> None:
        digest = put(http, b"content", sha)
        assert http.get(f"/{NAME}/blobs/{digest}").content == b"content"

    def test_post_then_put(self, http: httpx2.Client, sha: Any) -> None:
        begun = http.post(f"/{NAME}/blobs/uploads/")
        assert (begun.status_code, begun.headers["Range"]) == (202, "0-0")
        digest = sha(b"content")
        done = http.put(begun.headers["Location"].removeprefix("/v2"), params={"digest": digest}, content=b"content")
        assert (done.status_code, done.headers["Docker-Content-Digest"]) == (201, digest)
        assert http.get(done.headers["Location"].removeprefix("/v2")).content == b"content"

    def test_in_pieces(self, http: httpx2.Client, sha: Any) -> None:
        where = http.post(f"/{NAME}/blobs/uploads/").headers["Location"].removeprefix("/v2")
        first = http.patch(where, content=b"con", headers={"Content-Range": "0-2"})
        assert (first.status_code, first.headers["Range"]) == (202, "0-2")
        assert http.get(where).headers["Range"] == "0-2"
        assert http.patch(where, content=b"te", headers={"Content-Range": "3-4"}).headers["Range"] == "0-4"
        assert http.put(where, params={"digest": sha(b"content")}, content=b"nt").status_code == 201

    def test_a_piece_out_of_order_is_refused_and_the_upload_goes_on(self, http: httpx2.Client, sha: Any) -> None:
        where = http.post(f"/{NAME}/blobs/uploads/").headers["Location"].removeprefix("/v2")
        http.patch(where, content=b"con", headers={"Content-Range": "0-2"})
        wrong = http.patch(where, content=b"nt", headers={"Content-Range": "5-6"})
        assert (wrong.status_code, wrong.headers["Range"]) == (416, "0-2")
        assert http.put(where, params={"digest": sha(b"content")}, content=b"tent").status_code == 201

    def test_a_wrong_digest_is_refused(self, http: httpx2.Client) -> None:
        answer = http.post(f"/{NAME}/blobs/uploads/", params={"digest": MISSING}, content=b"content")
        assert code(answer) == (400, "DIGEST_INVALID")

    def test_a_cancelled_one_is_gone(self, http: httpx2.Client) -> None:
        where = http.post(f"/{NAME}/blobs/uploads/").headers["Location"].removeprefix("/v2")
        assert http.delete(where).status_code == 204
        assert code(http.put(where, params={"digest": MISSING})) == (404, "BLOB_UPLOAD_UNKNOWN")

    def test_mounted_from_another_repository(self, http: httpx2.Client, sha: Any) -> None:
        digest = put(http, b"content", sha, "us-docker.pkg.dev/other/repo/image")
        params = {"mount": digest, "from": "us-docker.pkg.dev/other/repo/image"}
        assert http.post(f"/{NAME}/blobs/uploads/", params=params).status_code == 201
        assert http.get(f"/{NAME}/blobs/{digest}").content == b"content"

    def test_a_mount_that_cannot_be_becomes_an_upload(self, http: httpx2.Client) -> None:
        answer = http.post(f"/{NAME}/blobs/uploads/", params={"mount": MISSING, "from": "us-docker.pkg.dev/a/b/c"})
        assert (answer.status_code, "Location" in answer.headers) == (202, True)

    def test_a_large_one_arrives_whole(self, http: httpx2.Client, sha: Any) -> None:
        content = bytes(range(256)) * 40_000
        assert http.get(f"/{NAME}/blobs/{put(http, content, sha)}").content == content


class TestBlobs:
    def test_head_tells_size_and_digest(self, http: httpx2.Client, sha: Any) -> None:
        digest = put(http, b"content", sha)
        answer = http.head(f"/{NAME}/blobs/{digest}")
        assert answer.status_code == 200
        assert answer.headers["Content-Length"] == "7"
        assert answer.headers["Docker-Content-Digest"] == digest

    @pytest.mark.parametrize(
        ("asked", "status", "content", "told"),
        [
            ("bytes=0-2", 206, b"con", "bytes 0-2/7"),
            ("bytes=3-", 206, b"tent", "bytes 3-6/7"),
            ("bytes=5-100", 206, b"nt", "bytes 5-6/7"),
            ("bytes=-2", 206, b"nt", "bytes 5-6/7"),
            ("bytes=7-", 416, b"", "bytes */7"),
            ("bytes=3-1", 416, b"", "bytes */7"),
            ("lines=1-2", 416, b"", "bytes */7"),
        ],
    )
    def test_ranges(self, http: httpx2.Client, sha: Any, asked: str, status: int, content: bytes, told: str) -> None:
        digest = put(http, b"content", sha)
        answer = http.get(f"/{NAME}/blobs/{digest}", headers={"Range": asked})
        assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (status, content, told)

    def test_unknown_ones(self, http: httpx2.Client) -> None:
        assert code(http.get(f"/{NAME}/blobs/{MISSING}")) == (404, "BLOB_UNKNOWN")
        assert http.head(f"/{NAME}/blobs/{MISSING}").status_code == 404
        assert code(http.get(f"/{NAME}/blobs/x")) == (400, "DIGEST_INVALID")

    def test_a_deleted_one_is_gone(self, http: httpx2.Client, sha: Any) -> None:
        digest = put(http, b"content", sha)
        assert http.delete(f"/{NAME}/blobs/{digest}").status_code == 202
        assert http.head(f"/{NAME}/blobs/{digest}").status_code == 404


class TestManifests:
    def test_by_tag_and_by_digest_with_type_and_digest(self, http: httpx2.Client, manifest: bytes, sha: Any) -> None:
        answer = put_manifest(http, "1.0", manifest)
        assert (answer.status_code, answer.headers["Docker-Content-Digest"]) == (201, sha(manifest))
        for reference in ("1.0", sha(manifest)):
            for method in ("GET", "HEAD"):
                found = http.request(method, f"/{NAME}/manifests/{reference}")
                assert found.status_code == 200
                assert found.headers["Docker-Content-Digest"] == sha(manifest)
                assert found.headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
                assert found.headers["Content-Length"] == str(len(manifest))
                assert found.content == (manifest if method == "GET" else b"")

    def test_unknown_ones(self, http: httpx2.Client, manifest: bytes) -> None:
        assert code(http.get(f"/{NAME}/manifests/1")) == (404, "MANIFEST_UNKNOWN")
        assert code(http.get("/us-docker.pkg.dev/no/such/repo/manifests/1")) == (404, "NAME_UNKNOWN")

    def test_one_that_is_too_large_is_refused_before_it_is_read(self, http: httpx2.Client) -> None:
        answer = http.put(f"/{NAME}/manifests/1", content=b" " * (5 << 20))
        assert code(answer) == (413, "SIZE_INVALID")

    def test_one_without_its_blobs_is_refused(self, http: httpx2.Client) -> None:
        kind = "application/vnd.oci.image.manifest.v1+json"
        config = {"mediaType": "x", "digest": MISSING, "size": 1}
        content = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}).encode()
        assert code(put_manifest(http, "1", content)) == (400, "MANIFEST_BLOB_UNKNOWN")

    def test_a_deleted_one_is_gone(self, http: httpx2.Client, manifest: bytes, sha: Any) -> None:
        put_manifest(http, "1", manifest)
        assert http.delete(f"/{NAME}/manifests/{sha(manifest)}").status_code == 202
        assert http.head(f"/{NAME}/manifests/1").status_code == 404

    def test_what_was_seen_is_not_sent_again(self, http: httpx2.Client, manifest: bytes) -> None:
        tag = put_manifest(http, "1", manifest).headers["Docker-Content-Digest"]
        answer = http.get(f"/{NAME}/manifests/1", headers={"If-None-Match": f'"{tag}"'})
        assert (answer.status_code, answer.content) == (304, b"")

    def test_referrers_are_listed(self, http: httpx2.Client, manifest: bytes, sha: Any) -> None:
        put_manifest(http, "1", manifest)
        subject = {"mediaType": "x", "digest": sha(manifest), "size": len(manifest)}
        referring = json.dumps(json.loads(manifest) | {"subject": subject, "artifactType": "a/signature"}).encode()
        assert put_manifest(http, sha(referring), referring).headers["OCI-Subject"] == sha(manifest)
        listed = http.get(f"/{NAME}/referrers/{sha(manifest)}").json()["manifests"]
        assert [(d["digest"], d["artifactType"]) for d in listed] == [(sha(referring), "a/signature")]
        assert http.get(f"/{NAME}/referrers/{sha(manifest)}", params={"artifactType": "b"}).json()["manifests"] == []


class TestLists:
    def test_tags_come_sorted_and_in_pages(self, http: httpx2.Client, manifest: bytes) -> None:
        for tag in ("c", "a", "e", "b", "d"):
            put_manifest(http, tag, manifest)
        assert http.get(f"/{NAME}/tags/list").json() == {"name": NAME, "tags": ["a", "b", "c", "d", "e"]}
        pages, address = [], f"/{NAME}/tags/list?n=2"
        while address:
            answer = http.get(address)
            pages.append(answer.json()["tags"])
            address = answer.links["next"]["url"].removeprefix("/v2") if "next" in answer.links else ""
        assert pages == [["a", "b"], ["c", "d"], ["e"]]
        assert http.get(f"/{NAME}/tags/list?last=c").json()["tags"] == ["d", "e"]
        assert http.get(f"/{NAME}/tags/list?n=0").json()["tags"] == []
        for n in ("x", "²"):
            assert code(http.get(f"/{NAME}/tags/list?n={n}")) == (400, "PAGINATION_NUMBER_INVALID")

    def test_an_unknown_repository_has_none(self, http: httpx2.Client) -> None:
        assert code(http.get("/us-docker.pkg.dev/no/such/repo/tags/list")) == (404, "NAME_UNKNOWN")

    def test_repositories_are_listed(self, http: httpx2.Client, manifest: bytes) -> None:
        put_manifest(http, "1", manifest)
        assert http.get("/_catalog").json() == {"repositories": [NAME]}

    def test_a_name_that_contains_the_words_of_the_api(self, http: httpx2.Client, sha: Any) -> None:
        """The last ``/blobs/`` or ``/manifests/`` of the path counts."""
        name = "us-docker.pkg.dev/blobs/manifests/tags"
        assert http.head(f"/{name}/blobs/{put(http, b'x', sha, name)}").status_code == 200


class TestRefusals:
    @pytest.mark.parametrize(
        ("method", "path", "expected"),
        [
            ("GET", f"/{NAME}", (404, "NAME_UNKNOWN")),
            ("PATCH", f"/{NAME}/manifests/1", (405, "UNSUPPORTED")),
            ("GET", "/us-docker.pkg.dev/Upper/manifests/1", (400, "NAME_INVALID")),
            ("POST", "/us-docker.pkg.dev/%2e%2e/%2e%2e/etc/blobs/uploads/", (400, "NAME_INVALID")),
        ],
    )
    def test_errors_have_the_specifications_form(
        self, http: httpx2.Client, method: str, path: str, expected: tuple[int, str]
    ) -> None:
        assert code(http.request(method, path)) == expected


@pytest.fixture
def skopeo() -> str:
    found = shutil.which("skopeo")
    if not found:
        pytest.skip("skopeo is not installed (Debian: apt install skopeo)")
    return found


class TestSkopeo:
    """A client that we have not written."""

    def run(self, *words: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def test_push_inspect_pull_delete(self, skopeo: str, registry: Any, tmp_path: Path) -> None:
        digest = build(ImageSpec(gzip=True), tmp_path / "built")  # skopeo would compress others
        name = f"docker://{registry.address}/{NAME}:1.0"
        self.run(skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{tmp_path}/built", name)
        seen = json.loads(self.run(skopeo, "inspect", "--tls-verify=false", name))
        assert (seen["Digest"], seen["RepoTags"]) == (digest, ["1.0"])
        assert registry.store.manifest(NAME, "1.0").digest == digest
        back = f"oci:{tmp_path}/back:x"
        self.run(skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", f"{name[:-4]}@{digest}", back)
        index = json.loads((tmp_path / "back/index.json").read_bytes())
        assert index["manifests"][0]["digest"] == digest
        self.run(skopeo, "delete", "--tls-verify=false", name)
        assert registry.store.tags(NAME) == []

    def test_docker_schema_2_is_taken_as_it_is(self, skopeo: str, registry: Any, tmp_path: Path) -> None:
        build(ImageSpec(), tmp_path / "built")
        name = f"docker://{registry.address}/{NAME}:2"
        self.run(
            skopeo,
            "--insecure-policy",
            "copy",
            "--format",
            "v2s2",
            "--dest-tls-verify=false",
            f"oci:{tmp_path}/built",
            name,
        )
        kind = registry.store.manifest(NAME, "2").media_type
        assert kind == "application/vnd.docker.distribution.manifest.v2+json"

    def test_schema_1_is_taken_with_its_signatures_and_kept_under_its_digest_without(
        self, skopeo: str, registry: Any, sha: Any, tmp_path: Path
    ) -> None:
        build(ImageSpec(gzip=True), tmp_path / "built")
        name = f"docker://{registry.address}/{NAME}:old"
        plain = ("--insecure-policy", "copy", "--dest-tls-verify=false")
        self.run(skopeo, *plain, "--format", "v2s1", f"oci:{tmp_path}/built", name)
        kept = registry.store.manifest(NAME, "old")
        assert kept.media_type == "application/vnd.docker.distribution.manifest.v1+prettyjws"
        assert b'"signatures"' in kept.content
        assert kept.digest != sha(kept.content)
        assert json.loads(self.run(skopeo, "inspect", "--tls-verify=false", name))["Digest"] == kept.digest
        by_digest = f"docker://{registry.address}/{NAME}@{kept.digest}"
        self.run(skopeo, "--insecure-policy", "copy", "--src-tls-verify=false", by_digest, f"dir:{tmp_path}/back")
        assert (tmp_path / "back/manifest.json").read_bytes() == kept.content

    def test_a_second_push_moves_no_layer(self, skopeo: str, registry: Any, tmp_path: Path) -> None:
        build(ImageSpec(), tmp_path / "built")
        written = []
        for tag in ("1", "2"):
            name = f"docker://{registry.address}/{NAME}:{tag}"
            self.run(skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{tmp_path}/built", name)
            blobs = (registry.store.root / "blobs/sha256").iterdir()
            written.append({(blob.name, blob.stat().st_ino, blob.stat().st_mtime_ns) for blob in blobs})
        assert registry.store.tags(NAME) == ["1", "2"]
        assert written[0] == written[1]
