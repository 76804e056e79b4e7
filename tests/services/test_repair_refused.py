"""A registry that does not take what a repair writes, or says that it did."""

from __future__ import annotations

from typing import Any

import pytest
import small_images as make
from hostile_registry import error
from repairing import HOST, NAME, mend, refused
from starlette.responses import Response
from writable_registry import WritableRegistry, refuse

OTHER = f"{HOST}/acme/elsewhere/train"
A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000}), make.tar({})
BROKEN = [A, EMPTY, B, A]


class TestARegistryThatRefuses:
    @pytest.mark.parametrize(
        ("method", "on"), [("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")]
    )
    def test_to_be_written_names_the_role(self, registry: WritableRegistry, method: str, on: str) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(refuse(method, on, 403, "Permission denied"))
        failure = refused(registry)
        assert "writing the " in str(failure)
        assert "roles/artifactregistry.writer on projects/acme/locations/us/repositories/batch" in str(failure)
        assert 'It said: "DENIED: Permission denied"' in str(failure)
        assert registry.tags(NAME).keys() == {"1"}

    def test_a_blob_to_be_mounted(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(refuse("POST", "/blobs/uploads/", 403))
        failure = refused(registry, target=f"{OTHER}:2")
        assert "writing the blob sha256:" in str(failure)
        assert "repositories/elsewhere" in str(failure)

    @pytest.mark.parametrize("copy", [False, True])
    def test_since_the_target_s_repository_is_not_there_says_how_to_create_it(
        self, registry: WritableRegistry, copy: bool
    ) -> None:
        host = "europe-docker.pkg.dev" if copy else HOST  # to another registry, layers are copied and not mounted
        unknown = error(404, "NAME_UNKNOWN", 'Repository "elsewhere" not found')
        posted = "/elsewhere/train/blobs/uploads/"
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(lambda r: unknown if r.method == "POST" and posted in r.url.path else None)
        failure = refused(registry, target=f"{host}/example.com/acme/elsewhere/train:2", copy_layers=copy)
        assert "its repository does not exist (HTTP 404). Create it first" in str(failure)
        command = "(gcloud artifacts repositories create elsewhere --repository-format=docker "
        assert f"{command}--location={host.partition('-')[0]} --project=example.com:acme)." in str(failure)
        assert not failure.retryable

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (400, "cannot update tag 2. The repository has enabled tag immutability"),  # Artifact Registry's
            (409, "the tag is Immutable"),
            (412, "immutable"),
        ],
    )
    def test_to_move_an_immutable_tag_says_to_write_another(
        self, registry: WritableRegistry, status: int, words: str
    ) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.put(NAME, make.image([B]), "2")
        registry.faults.append(refuse("PUT", "/manifests/2", status, words))
        failure = refused(registry, move_tag=True)
        assert f"{NAME}:2: the tag is immutable" in str(failure)
        assert f"(HTTP {status}), and will not. Write another tag." in str(failure)
        assert f'It said: "DENIED: {words}"' in str(failure)
        assert not failure.retryable

    @pytest.mark.parametrize("status", [400, 409])
    def test_for_another_reason_is_not_said_to_have_immutable_tags(
        self, registry: WritableRegistry, status: int
    ) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(refuse("PUT", "/manifests/2", status, "manifest invalid"))
        assert f"answered the manifest 2 with HTTP {status}" in str(refused(registry))

    def test_once_is_asked_again(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        left = ["POST", "PUT"]

        def busy(request: Any) -> Response | None:
            on = {"POST": "/uploads/", "PUT": "/manifests/"}.get(request.method, "")
            if request.method not in left or on not in request.url.path:
                return None
            left.remove(request.method)
            return error(503, "UNAVAILABLE", "busy")

        registry.faults.append(busy)
        assert mend(registry).written
        assert left == []

    def test_that_keeps_other_bytes_is_not_believed(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))

        def other(request: Any) -> Response | None:
            if request.method != "PUT" or "/manifests/" not in request.url.path:
                return None
            return Response(status_code=201, headers={"Docker-Content-Digest": make.sha256(b"other")})

        registry.faults.append(other)
        failure = str(refused(registry))
        assert "it changed the bytes" in failure
        assert "The tag 2 may name that one already" in failure

    @pytest.mark.parametrize("before", [[], [B]])
    def test_nothing_and_keeps_nothing_is_not_believed(self, registry: WritableRegistry, before: list[bytes]) -> None:
        registry.put(NAME, make.image(BROKEN))
        if before:
            registry.put(NAME, make.image(before), "2")

        def forgets(request: Any) -> Response | None:
            return Response(status_code=201) if request.method == "PUT" and "/manifests/" in request.url.path else None

        registry.faults.append(forgets)
        failure = refused(registry, move_tag=True)
        digest = mend(registry, move_tag=True, dry_run=True).digest
        tag = f"names {make.image(before).digest}" if before else "is not there"
        assert f"said that it took {digest}, but the tag {tag}" in str(failure)
        assert failure.retryable
        registry.faults.clear()
        assert mend(registry, move_tag=True).written
