"""Blobs, manifests and tags in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.images.store import MANIFEST_BYTES, Store, StoreError

NAME = "us-docker.pkg.dev/project/repo/image"
TYPE = "application/vnd.oci.image.manifest.v1+json"


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(StoreError) as caught:
        call(*args)
    return caught.value.code


def manifest(store: Store, content: bytes = b"config", **more: Any) -> bytes:
    config = {"mediaType": "x", "digest": store.put_blob(NAME, content), "size": len(content)}
    return json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": config, "layers": [], **more}).encode()


class TestBlobs:
    def test_what_was_put_is_there_under_its_digest(self, store: Store) -> None:
        assert store.blob(store.put_blob(NAME, b"content"), NAME).read_bytes() == b"content"

    def test_a_wrong_digest_is_refused_and_nothing_stays(self, store: Store) -> None:
        upload = store.upload(NAME)
        upload.append([b"con", b"tent"])
        assert refused(upload.finish, "sha256:" + "0" * 64) == "DIGEST_INVALID"
        assert not [path for path in store.root.rglob("*") if path.is_file()]

    def test_a_repository_answers_for_its_own_alone(self, store: Store) -> None:
        digest = store.put_blob(NAME, b"content")
        assert refused(store.blob, digest, "us-docker.pkg.dev/other/repo/image") == "BLOB_UNKNOWN"

    def test_a_mounted_blob_is_the_other_repositorys_too(self, store: Store) -> None:
        digest = store.put_blob(NAME, b"content")
        assert store.mount("eu.gcr.io/other/image", digest, NAME)
        assert store.blob(digest, "eu.gcr.io/other/image").read_bytes() == b"content"
        assert not store.mount("eu.gcr.io/other/image", "sha256:" + "0" * 64, NAME)

    @pytest.mark.parametrize("digest", ["", "sha256:", "sha256:XYZ", "md5:0", "../../x", "sha256:../" + "0" * 61])
    def test_what_is_no_digest_is_refused(self, store: Store, digest: str) -> None:
        assert refused(store.blob, digest) == "DIGEST_INVALID"

    @pytest.mark.parametrize("name", ["x", "../../x", "0" * 32, ""])
    def test_an_upload_that_never_began_is_unknown(self, store: Store, name: str) -> None:
        assert refused(store.upload, NAME, name) == "BLOB_UPLOAD_UNKNOWN"


class TestManifests:
    def test_one_is_found_by_tag_and_by_digest(self, store: Store) -> None:
        content = manifest(store)
        digest = store.put_manifest(NAME, "1.0", TYPE, content)
        for reference in ("1.0", digest):
            found = store.manifest(NAME, reference)
            assert (found.digest, found.media_type, found.content) == (digest, TYPE, content)

    def test_a_tag_moves_and_the_old_digest_stays(self, store: Store) -> None:
        first = store.put_manifest(NAME, "1", TYPE, manifest(store, b"a"))
        second = store.put_manifest(NAME, "1", TYPE, manifest(store, b"b"))
        assert store.manifest(NAME, "1").digest == second
        assert store.manifest(NAME, first).digest == first

    def test_it_survives_a_restart(self, store: Store) -> None:
        digest = store.put_manifest(NAME, "1", TYPE, manifest(store))
        assert Store(store.root).manifest(NAME, "1").digest == digest

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"no json", "MANIFEST_INVALID"),
            (b"[]", "MANIFEST_INVALID"),
            (b'{"schemaVersion": 1}', "MANIFEST_INVALID"),
            (b'{"schemaVersion": 2, "mediaType": "other"}', "MANIFEST_INVALID"),
            (b'{"schemaVersion": 2}' + b" " * MANIFEST_BYTES, "SIZE_INVALID"),
        ],
    )
    def test_what_is_no_manifest_is_refused(self, store: Store, content: bytes, code: str) -> None:
        assert refused(store.put_manifest, NAME, "1", TYPE, content) == code

    def test_its_blobs_come_first(self, store: Store) -> None:
        missing = {"digest": "sha256:" + "0" * 64, "size": 1, "mediaType": "x"}
        assert (
            refused(store.put_manifest, NAME, "1", TYPE, manifest(store, layers=[missing])) == "MANIFEST_BLOB_UNKNOWN"
        )

    def test_an_indexs_manifests_come_first(self, store: Store) -> None:
        kind = "application/vnd.oci.image.index.v1+json"
        entry = {"digest": "sha256:" + "0" * 64, "size": 1, "mediaType": TYPE}
        content = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": [entry]}).encode()
        assert refused(store.put_manifest, NAME, "1", kind, content) == "MANIFEST_BLOB_UNKNOWN"

    def test_a_digest_must_be_its_own(self, store: Store) -> None:
        assert refused(store.put_manifest, NAME, "sha256:" + "0" * 64, TYPE, manifest(store)) == "DIGEST_INVALID"

    @pytest.mark.parametrize("tag", ["", ".x", "-x", "a/b", "../x", "a" * 129, "a b"])
    def test_what_is_no_tag_is_refused(self, store: Store, tag: str) -> None:
        assert refused(store.put_manifest, NAME, tag, TYPE, manifest(store)) == "TAG_INVALID"

    @pytest.mark.parametrize(
        "name", ["image", "/x", "host/../x", "host/_tags", "Host/x", "host/X", "host//x", "h/" + "a" * 300]
    )
    def test_what_is_no_repository_is_refused(self, store: Store, name: str) -> None:
        assert refused(store.manifest, name, "1") == "NAME_INVALID"

    def test_unknown_repository_and_unknown_tag_are_told_apart(self, store: Store) -> None:
        assert refused(store.manifest, NAME, "1") == "NAME_UNKNOWN"
        store.put_manifest(NAME, "1", TYPE, manifest(store))
        assert refused(store.manifest, NAME, "2") == "MANIFEST_UNKNOWN"


class TestDeleting:
    def test_a_tag_goes_alone(self, store: Store) -> None:
        digest = store.put_manifest(NAME, "1", TYPE, manifest(store))
        store.put_manifest(NAME, "2", TYPE, manifest(store))
        store.delete_manifest(NAME, "1")
        assert store.tags(NAME) == ["2"]
        assert store.manifest(NAME, digest).digest == digest

    def test_a_digest_takes_its_tags_along(self, store: Store) -> None:
        digest = store.put_manifest(NAME, "1", TYPE, manifest(store, b"a"))
        store.put_manifest(NAME, "2", TYPE, manifest(store, b"b"))
        store.delete_manifest(NAME, digest)
        assert store.tags(NAME) == ["2"]
        assert refused(store.manifest, NAME, digest) == "MANIFEST_UNKNOWN"

    def test_a_blob_leaves_one_repository(self, store: Store, tmp_path: Path) -> None:
        digest = store.put_blob(NAME, b"content")
        store.mount("eu.gcr.io/other/image", digest, NAME)
        store.delete_blob(NAME, digest)
        assert refused(store.blob, digest, NAME) == "BLOB_UNKNOWN"
        assert store.blob(digest, "eu.gcr.io/other/image").exists()
