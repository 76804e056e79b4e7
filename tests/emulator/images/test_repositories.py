"""Artifact Registry's API of the local Batch: what kind of repository one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from served import Served

from airflow_batchstream.emulator.images.repositories import PATH, repositories_app
from airflow_batchstream.emulator.images.store import Store

PLACE = "/v1/projects/acme/locations/us/repositories"


@pytest.fixture
def http(store: Store) -> Iterator[httpx2.Client]:
    with Served(repositories_app(store)) as served, httpx2.Client(base_url=f"http://{served.address}") as client:
        yield client


class TestARepository:
    def test_that_images_were_pushed_to_is_a_standard_one(self, http: httpx2.Client, images: Any, store: Store) -> None:
        images.name = "us-docker.pkg.dev/acme/batch/ml/train"
        images.put(b"")
        answer = http.get(f"{PLACE}/batch")
        assert answer.json() == {
            "name": "projects/acme/locations/us/repositories/batch",
            "format": "DOCKER",
            "mode": "STANDARD_REPOSITORY",
            "registryUri": "us-docker.pkg.dev/acme/batch",
        }

    def test_of_a_domain_scoped_project_is_named_with_its_colon(self, http: httpx2.Client, images: Any) -> None:
        images.name = "us-docker.pkg.dev/example.com/acme/batch/train"
        images.put(b"")
        for project in ("example.com:acme", "example.com%3Aacme"):
            answer = http.get(f"/v1/projects/{project}/locations/us/repositories/batch")
            assert answer.json()["name"] == "projects/example.com:acme/locations/us/repositories/batch"

    @pytest.mark.parametrize("name", ["none", "_settings", "..", "A%20b"])
    def test_that_is_not_there_is_answered_as_google_does(self, http: httpx2.Client, name: str) -> None:
        answer = http.get(f"{PLACE}/{name}")
        assert answer.status_code == 404
        if PATH.fullmatch(answer.request.url.path):
            assert answer.json()["error"]["status"] == "NOT_FOUND"

    def test_can_be_created_as_a_virtual_one_and_is_no_image(self, http: httpx2.Client, store: Store) -> None:
        behind = {"upstreamPolicies": [{"id": "a", "priority": 1, "repository": f"{PLACE[4:]}/std"}]}
        wanted = {"mode": "VIRTUAL_REPOSITORY", "virtualRepositoryConfig": behind}
        made = http.post(PLACE, params={"repositoryId": "all"}, json=wanted).json()
        assert (made["done"], made["response"]["mode"]) == (True, "VIRTUAL_REPOSITORY")
        found = http.get(f"{PLACE}/all").json()
        assert found == made["response"]
        assert found["virtualRepositoryConfig"] == behind
        assert store.repositories() == []

    @pytest.mark.parametrize("wanted", [{"mode": "MIRROR_REPOSITORY"}, [], "x"])
    def test_of_another_kind_is_refused(self, http: httpx2.Client, wanted: Any) -> None:
        answer = http.post(PLACE, params={"repositoryId": "all"}, json=wanted)
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert http.get(f"{PLACE}/all").status_code == 404

    @pytest.mark.parametrize("chosen", ["", "A b", "a/b"])
    def test_without_a_proper_name_is_refused(self, http: httpx2.Client, chosen: str) -> None:
        assert http.post(PLACE, params={"repositoryId": chosen}, json={}).status_code == 400
