"""Repairs against the local Batch's registry over HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import small_images as make
from repairing import HOST, NAME, mend, refused, verdict
from starlette.responses import Response
from writable_registry import WritableRegistry

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images import rewrite
from airflow_batchstream.core.images.repaired import WIDTH, table
from airflow_batchstream.services.repair_plan import MOST_BESIDE, MOST_IMAGES

OTHER = f"{HOST}/acme/elsewhere/train"
A, B, EMPTY = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000}), make.tar({})
BROKEN = [A, EMPTY, B, A]


class TestAnImageWithEmptyAndDuplicateLayers:
    def test_becomes_one_that_may_be_streamed(self, registry: WritableRegistry) -> None:
        made = registry.put(NAME, make.image(BROKEN))
        done = mend(registry)
        assert done.needed
        assert done.written
        assert done.source_digest == made.digest
        assert done.pinned == f"{NAME}@{registry.tags(NAME)['2']}"
        assert verdict(registry, f"{NAME}:1") is Verdict.BROKEN
        assert verdict(registry, done.pinned) is Verdict.HOLDS

    def test_has_the_last_of_the_duplicates(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        mend(registry)
        digests = [row["digest"] for row in registry.document(NAME, "2")["layers"]]
        assert digests == [make.sha256(make.gz(B)), make.sha256(make.gz(A))]
        assert registry.config(NAME, "2")["rootfs"]["diff_ids"] == [make.sha256(B), make.sha256(A)]

    def test_duplicates_are_told_by_their_content_not_by_their_compression(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A, B, A], compressed=[make.gz(A, 1), make.gz(B), make.gz(A, 9) + bytes(8)]))
        done = mend(registry)
        assert [(one.why, one.layer.index, one.kept) for one in done.parts[0].dropped] == [("duplicate", 0, 2)]

    def test_an_empty_layer_of_any_length_is_found(self, registry: WritableRegistry) -> None:
        long, almost = bytes(20 * 1024 * 1024), make.tar({"zeros": bytes(8 * 1024 * 1024)})
        registry.put(NAME, make.image([A, long, almost]))
        done = mend(registry)
        assert [(one.why, one.layer.index) for one in done.parts[0].dropped] == [("empty", 1)]

    def test_only_config_and_manifest_are_uploaded(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        done = mend(registry)
        assert registry.writes == ["POST blobs/uploads/", "PUT blobs/uploads/ID", "PUT manifests/2"]
        assert (done.mounted, done.copied) == (0, 0)
        document = registry.document(NAME, "2")
        assert done.uploaded == document["config"]["size"] + len(registry.store.manifest(NAME, "2").content)
        read = [
            told.path.rpartition("/")[2] for told in registry.seen if told.method == "GET" and "/blobs/" in told.path
        ]
        assert sorted(read[1:]) == sorted(make.sha256(make.gz(one)) for one in (A, B))  # small: looked into, once each

    def test_of_10_gb_takes_eight_requests_and_a_few_kilobytes(self, registry: WritableRegistry) -> None:
        made = make.image(BROKEN)
        manifest = json.loads(made.body)
        for row in manifest["layers"]:
            row["size"] = 2_500_000_000
        registry.put(NAME, make.Made(made.media_type, make.as_json(manifest), made.blobs))
        done = mend(registry)
        assert done.requests == len(registry.seen) == 8
        assert done.read + done.uploaded < 8192

    def test_leaves_the_source_as_it_was(self, registry: WritableRegistry) -> None:
        made = registry.put(NAME, make.image(BROKEN))
        mend(registry)
        assert registry.store.manifest(NAME, "1").content == made.body

    def test_says_in_labels_what_was_done_to_which_digest(self, registry: WritableRegistry) -> None:
        made = registry.put(NAME, make.image(BROKEN, config={"config": {"Labels": {"own": "kept"}, "Cmd": ["x"]}}))
        mend(registry)
        marks = {
            rewrite.REPAIRED_FROM: made.digest,
            rewrite.REPAIRED: "dropped 1 empty layer and 1 duplicate layer",
        }
        assert registry.config(NAME, "2")["config"] == {"Labels": {"own": "kept"} | marks, "Cmd": ["x"]}
        assert registry.document(NAME, "2")["annotations"] == marks

    def test_again_is_nothing_to_do(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        first = mend(registry)
        registry.seen.clear()
        again = mend(registry)
        assert (again.written, again.pinned) == (False, first.pinned)
        assert registry.writes == []
        assert "was repaired before" in "\n".join(table(again))

    def test_gives_the_same_digest_under_another_name(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.put(OTHER, make.image(BROKEN), "x")
        assert mend(registry).digest == mend(registry, f"{OTHER}:x", f"{OTHER}:y").digest


class TestATargetInAnotherRepository:
    def test_gets_the_layers_mounted(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        done = mend(registry, target=f"{OTHER}:2")
        assert (done.mounted, done.copied) == (2, 0)
        mounts = [told.query for told in registry.seen if told.method == "POST" and "mount" in told.query]
        assert sorted(mounts) == sorted(f"mount={make.sha256(make.gz(data))}&from={NAME}" for data in (A, B))
        assert verdict(registry, done.pinned) is Verdict.HOLDS
        assert registry.tags(NAME).keys() == {"1"}

    def test_is_refused_where_the_registry_does_not_mount(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(no_mount)
        failure = refused(registry, target=f"{OTHER}:2")
        assert "the layers would have to be moved" in str(failure)
        assert f"Name a target in the source's repository ({NAME}:TAG)" in str(failure)
        assert "--copy-layers" in str(failure)
        assert registry.tags(OTHER) == {}

    def test_gets_the_layers_copied_if_told_so(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.faults.append(no_mount)
        said: list[str] = []
        done = mend(registry, target=f"{OTHER}:2", copy_layers=True, say=said.append)
        assert (done.mounted, done.copied) == (0, len(make.gz(A)) + len(make.gz(B)))
        assert any(line.startswith("Copying sha256:") for line in said)
        assert verdict(registry, done.pinned) is Verdict.HOLDS

    def test_on_another_registry_is_refused_unless_layers_may_be_copied(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        away = "europe-docker.pkg.dev/acme/batch/train:2"
        assert "are different registries" in str(refused(registry, target=away))
        assert mend(registry, target=away, copy_layers=True).copied


def no_mount(request: Any) -> Response | None:
    """A registry that begins an upload instead."""
    if request.method != "POST" or "mount" not in request.url.query:
        return None
    return Response(status_code=202, headers={"Location": f"{request.url.path}nowhere"})


class TestTheTag:
    def test_of_another_image_is_not_moved(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        other = registry.put(NAME, make.image([B]), "2")
        failure = refused(registry)
        assert f"{NAME}:2 is there already and names another image ({other.digest})" in str(failure)
        assert "--move-tag" in str(failure)
        assert registry.writes == []
        assert registry.tags(NAME)["2"] == other.digest

    def test_is_moved_if_told_so(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.put(NAME, make.image([B]), "2")
        done = mend(registry, move_tag=True)
        assert done.written
        assert registry.tags(NAME)["2"] == done.digest

    def test_that_appears_meanwhile_is_not_moved_either(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))

        def meanwhile(request: Any) -> None:
            if request.method == "PUT" and "/uploads/" in request.url.path:
                registry.put(NAME, make.image([B]), "2")

        registry.faults.append(meanwhile)
        assert "names another image" in str(refused(registry))
        assert registry.tags(NAME)["2"] == make.image([B]).digest

    def test_is_the_last_thing_that_is_written(self, registry: WritableRegistry) -> None:
        amd, arm = make.image(BROKEN), make.image(BROKEN, architecture="arm64")
        registry.put(NAME, make.index((amd, make.AMD64), (arm, make.ARM64)))
        mend(registry, target=f"{OTHER}:2")
        assert registry.writes[-1] == "PUT manifests/2"
        assert [w for w in registry.writes if w.startswith("PUT manifests/")][:-1] == [
            f"PUT manifests/{row['digest']}" for row in registry.document(OTHER, "2")["manifests"]
        ]


class TestADryRun:
    def test_writes_nothing_and_tells_the_digest(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        dry = mend(registry, dry_run=True)
        assert registry.writes == []
        assert (dry.written, dry.pinned) == (False, f"{NAME}@{dry.source_digest}")
        assert dry.digest == mend(registry).digest

    def test_tells_of_a_tag_that_is_taken(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN))
        registry.put(NAME, make.image([B]), "2")
        assert "names another image" in str(refused(registry, dry_run=True))


class TestAnImageThatNeedsNoRepair:
    def test_is_handed_on_as_it_is_and_nothing_is_written(self, registry: WritableRegistry) -> None:
        made = registry.put(NAME, make.image([A, B]))
        done = mend(registry)
        assert (done.needed, done.written, done.pinned) == (False, False, f"{NAME}@{made.digest}")
        assert registry.writes == []
        assert "needs no repair, nothing was written" in "\n".join(table(done))

    def test_whatever_the_target_names(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A, B]))
        registry.put(NAME, make.image([B]), "2")
        assert not mend(registry).needed


class TestAnIndex:
    BOTH = ((make.image(BROKEN), make.AMD64), (make.image([A, B], architecture="arm64"), make.ARM64))

    def test_is_repaired_for_all_its_platforms(self, registry: WritableRegistry) -> None:
        made = registry.put(NAME, make.index(*self.BOTH))
        done = mend(registry)
        rows = registry.document(NAME, "2")["manifests"]
        assert [row["platform"] for row in rows] == [make.AMD64, make.ARM64]
        assert rows[1]["digest"] == self.BOTH[1][0].digest  # needed nothing
        assert registry.document(NAME, "2")["annotations"] == {rewrite.REPAIRED_FROM: made.digest}
        assert [part.changed for part in done.parts] == [True, False]
        assert verdict(registry, done.pinned) is Verdict.HOLDS

    def test_in_another_repository_is_whole(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.index(*self.BOTH))
        mend(registry, target=f"{OTHER}:2")
        for row in registry.document(OTHER, "2")["manifests"]:
            for blob in registry.document(OTHER, row["digest"])["layers"]:
                assert registry.store.blob(blob["digest"], OTHER).is_file()

    def test_for_the_platforms_that_are_asked_for(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.index(*self.BOTH))
        mend(registry, platforms=["linux/amd64"])
        assert [row["platform"] for row in registry.document(NAME, "2")["manifests"]] == [make.AMD64]

    def test_without_the_platform_that_is_asked_for(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.index(*self.BOTH))
        failure = refused(registry, platforms=["linux/s390x"])
        assert "not there for linux/s390x; it has linux/amd64, linux/arm64" in str(failure)

    def test_and_one_image_alone_is_refused_for_another_platform(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image(BROKEN, architecture="arm64"))
        assert "not there for linux/amd64; it is for linux/arm64" in str(refused(registry, platforms=["linux/amd64"]))
        assert mend(registry, platforms=["linux/arm64"]).written

    def test_that_needs_nothing(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.index(self.BOTH[1]))
        assert not mend(registry).needed

    def test_loses_the_attestations_of_images_that_became_others_and_keeps_the_rest(
        self, registry: WritableRegistry
    ) -> None:
        amd, arm = self.BOTH
        tests = [attestation(one.digest) for one, _ in self.BOTH]
        made = make.index(amd, arm, (tests[0], UNKNOWN), (tests[1], UNKNOWN))
        document = json.loads(made.body)
        for row, (one, _) in zip(document["manifests"][2:], self.BOTH, strict=True):
            row["annotations"] = {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": one.digest,
            }
        registry.put(NAME, make.Made(made.media_type, make.as_json(document), {}, made.children))
        done = mend(registry, target=f"{OTHER}:2")
        rows = registry.document(OTHER, "2")["manifests"]
        assert [row["digest"] for row in rows[1:]] == [arm[0].digest, tests[1].digest]
        assert registry.store.manifest(OTHER, tests[1].digest).content == tests[1].body
        assert "1 attestation is left out" in done.notes[0]

    def test_of_more_than_can_be_looked_at_is_refused_before_much_is_read(self, registry: WritableRegistry) -> None:
        amd, _ = self.BOTH
        more = [attestation(str(i)) for i in range(MOST_BESIDE + 1)]
        registry.put(NAME, make.index(amd, *((one, UNKNOWN) for one in more)))
        registry.seen.clear()
        assert "more than 128 entries that are no images: name the platforms" in str(refused(registry))
        assert len(registry.seen) < 10
        assert mend(registry, platforms=["linux/amd64"]).written

    def test_of_more_images_than_one_run_repairs_names_the_way_out(self, registry: WritableRegistry) -> None:
        images = [make.image([make.tar({str(i): b"1"}), EMPTY]) for i in range(MOST_IMAGES + 1)]
        registry.put(NAME, make.index(*((one, make.AMD64) for one in images)))
        assert "more than 64 images: name the platforms that you need" in str(refused(registry))

    def test_keeps_what_is_neither_image_nor_attestation_and_needs_no_blob_of_other_hosts(
        self, registry: WritableRegistry
    ) -> None:
        amd, _ = self.BOTH
        beside = attestation("x")
        document = json.loads(beside.body)
        document["layers"].append(
            {
                "mediaType": "text/plain",
                "digest": make.sha256(b"far"),
                "size": 3,
                "urls": ["https://elsewhere.example/x"],
            }
        )
        beside = make.Made(beside.media_type, make.as_json(document), beside.blobs)
        registry.put(NAME, make.index(amd, (beside, UNKNOWN)))
        mend(registry, target=f"{OTHER}:2")
        assert registry.document(OTHER, "2")["manifests"][1]["digest"] == beside.digest
        assert registry.store.manifest(OTHER, beside.digest).content == beside.body

    def test_that_names_one_thing_many_times_reads_it_once(self, registry: WritableRegistry) -> None:
        amd, _ = self.BOTH
        made = make.index(amd, (attestation("x"), UNKNOWN))
        document = json.loads(made.body)
        document["manifests"] += [document["manifests"][1]] * 20_000
        registry.put(NAME, make.Made(made.media_type, make.as_json(document), {}, made.children))
        registry.seen.clear()
        began = time.monotonic()
        assert mend(registry, target=f"{OTHER}:2").written
        assert len(registry.seen) < 30
        assert time.monotonic() - began < 20  # comparing each with each took minutes

    def test_with_an_image_that_cannot_be_repaired_tells_the_platform_and_the_way_out(
        self, registry: WritableRegistry
    ) -> None:
        foreign = make.image([A], os="windows", layer_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
        registry.put(NAME, make.index(self.BOTH[0], (foreign, {"os": "windows", "architecture": "amd64"})))
        failure = refused(registry)
        assert "its image for windows/amd64: layers[0] is kept outside the registry (foreign)" in str(failure)
        assert "Name the platforms that can be (--platform" in str(failure)
        assert mend(registry, platforms=["linux/amd64"]).written

    def test_of_docker_stays_of_docker(self, registry: WritableRegistry) -> None:
        amd = docker(make.image(BROKEN))
        made = make.index((amd, make.AMD64))
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        document = json.loads(made.body) | {"mediaType": kind}
        registry.put(NAME, make.Made(kind, make.as_json(document), {}, [amd]))
        mend(registry)
        found = registry.document(NAME, "2")
        assert (found["mediaType"], "annotations" in found) == (kind, False)
        inner = registry.document(NAME, found["manifests"][0]["digest"])
        assert (inner["mediaType"], "annotations" in inner) == (amd.media_type, False)
        assert found["manifests"][0]["mediaType"] == amd.media_type


UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def attestation(about: str) -> make.Made:
    """What BuildKit writes beside an image."""
    statement = make.as_json({"subject": about})
    layer = {"mediaType": "application/vnd.in-toto+json", "digest": make.sha256(statement), "size": len(statement)}
    document = {
        "schemaVersion": 2,
        "mediaType": make.OCI_MANIFEST,
        "config": {"mediaType": make.OCI_CONFIG, "digest": make.sha256(b"{}"), "size": 2},
        "layers": [layer],
    }
    blobs = {make.sha256(b"{}"): b"{}", make.sha256(statement): statement}
    return make.Made(make.OCI_MANIFEST, make.as_json(document), blobs)


def docker(made: make.Made) -> make.Made:
    """The same image in Docker's own format."""
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    return make.Made(kind, make.as_json(json.loads(made.body) | {"mediaType": kind}), made.blobs)


CHART = {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": make.sha256(b"{}"), "size": 2}


def told(*diff_ids: str) -> make.Made:
    """An image of one layer twice, whose config tells these diff ids."""
    return make.image([A, A], config={"rootfs": {"diff_ids": list(diff_ids)}})


class TestWhatCannotBeRepaired:
    @pytest.mark.parametrize(
        ("image", "words"),
        [
            (make.image([A, A], layer_type=f"{make.OCI_LAYER}+encrypted"), "layers[0] is encrypted"),
            (make.image([EMPTY, EMPTY]), "all its layers are empty"),
            (told(make.sha256(A)), "its manifest has 2 layers, its config 1 diff ids"),
            (told(make.sha256(A), make.sha256(B)), "are one blob, and its config gives two diff ids"),
            (make.image([A], extra={"config": CHART}), "a Helm chart"),
        ],
    )
    def test_says_why_and_writes_nothing(self, registry: WritableRegistry, image: make.Made, words: str) -> None:
        registry.put(NAME, make.Made(image.media_type, image.body, image.blobs | {make.sha256(b"{}"): b"{}"}))
        failure = refused(registry)
        assert f"{NAME}:1 cannot be repaired: " in str(failure)
        assert words in str(failure)
        assert not failure.retryable
        assert registry.writes == []

    def test_an_image_that_is_not_there(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A]), "1.0")
        assert "The nearest is 1.0" in str(refused(registry))


class TestNames:
    @pytest.mark.parametrize(
        ("source", "target", "platforms", "words"),
        [
            (f"{NAME}:1", f"{NAME}:1", [], "source and target are the same name"),
            (NAME, f"{NAME}:latest", [], "source and target are the same name"),
            (f"{NAME}:1", f"{NAME}@{make.sha256(b'')}", [], "Write a tag instead"),
            (f"{NAME}:1", "No Image", [], "target: "),
            ("${IMAGE}", f"{NAME}:1", [], "source: "),
            (f"{NAME}:1", f"{NAME}:2", ["amd64"], "Write OS/ARCHITECTURE"),
            (f"{NAME}:1", f"{NAME}:2", [""], "platforms: '' is no platform. Write OS/ARCHITECTURE"),
            (f"{NAME}:1", f"{NAME}:2", ["linux/"], "or leave it out for all platforms"),
            (f"{NAME}:1", f"{NAME}:2", ["linux/a/b/c"], "Write OS/ARCHITECTURE"),
            (f"{NAME}:1", f"{NAME}:2", ["Linux/AMD64"], "they are written in lower case. Write linux/amd64."),
            (f"{NAME}:1", f"{NAME}:2", ["linux/amd64,linux/arm64"], 'Write a list, ["linux/amd64", "linux/arm64"]'),
            (f"{NAME}:1", f"{NAME}:2", ["linux/amd64 linux/arm/v7"], "or --platform for each"),
        ],
    )
    def test_that_make_no_sense_are_refused_before_anything_is_asked(
        self, registry: WritableRegistry, source: str, target: str, platforms: list[str], words: str
    ) -> None:
        with pytest.raises(InvalidInput, match="Nothing was repaired") as caught:
            mend(registry, source, target, platforms=platforms)
        assert words in str(caught.value)
        assert registry.seen == []


class TestTheTable:
    def test_fits_its_columns_and_hides_secrets_of_build_steps(self, registry: WritableRegistry) -> None:
        history = [{"created_by": "COPY a"}, {"created_by": "RUN TOKEN=hunter2 true"}, {"created_by": "COPY b"}, {}]
        registry.put(NAME, make.image(BROKEN, history=history))
        done = mend(registry)
        lines = table(done)
        assert max(map(len, lines)) <= WIDTH
        text = " ".join(" ".join(lines).split())
        assert "made by `RUN … true`): empty" in text
        assert "same content as layers[3], which stays" in text
        assert "hunter2" not in text + json.dumps(done.as_dict())

    def test_and_the_dict_stay_small_for_an_image_of_hundreds_of_layers(self, registry: WritableRegistry) -> None:
        registry.put(NAME, make.image([A, *[EMPTY] * 300]))
        done = mend(registry)
        assert len(json.dumps(done.as_dict())) < 8000
        assert len(table(done)) < 60
        assert done.as_dict()["images"][0]["dropped_count"] == 300
