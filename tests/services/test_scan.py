from __future__ import annotations

import asyncio
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import small_images as make
from google.auth.exceptions import RefreshError
from hostile_registry import Detour, HostileRegistry, body, endless, status
from starlette.requests import Request

from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Finding, Verdict, broken
from airflow_batchstream.core.images.platforms import platform_of
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.images.scan_table import WIDTH, table
from airflow_batchstream.core.images.scanned import Scan, refuse
from airflow_batchstream.emulator.images.registry import registry_app
from airflow_batchstream.emulator.images.store import Store
from airflow_batchstream.services.scan import AT_ONCE, MOST_SMALL_BLOBS, scan, scan_all

NAME = "us-docker.pkg.dev/acme/batch/train"
A, B = make.tar({"a": b"1"}), make.tar({"b": b"2" * 3000})
EMPTY = make.tar({})


@pytest.fixture(scope="module")
def running() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


@pytest.fixture
def registry(running: HostileRegistry) -> HostileRegistry:
    running.reset()
    return running


def look(
    at: HostileRegistry,
    image_uri: str = f"{NAME}:1.4",
    region: str = "us-central1",
    machine_type: str = "",
    most: int = MOST_SMALL_BLOBS,
) -> Scan:
    endpoint = Endpoint.local(at.address)
    return asyncio.run(
        scan(image_uri, region=region, endpoint=endpoint, machine_type=machine_type, most_small_blobs=most)
    )


class TestAnImageThatMayBeStreamed:
    def test_gives_the_pinned_name(self, registry: HostileRegistry) -> None:
        made = registry.put(NAME, make.image([A, B]), "1.4")
        found = look(registry)
        assert found.verdict is Verdict.HOLDS
        assert (found.tag, found.digest) == ("1.4", made.digest)
        assert found.pinned == f"{NAME}@{made.digest}"
        refuse(found)  # has nothing to refuse

    def test_a_name_without_a_tag_means_latest(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image())
        assert look(registry, NAME).tag == "latest"

    def test_a_pinned_name_stays_as_it_is(self, registry: HostileRegistry) -> None:
        made = registry.put(NAME, make.image())
        found = look(registry, f"{NAME}:old@{made.digest}")
        assert (found.tag, found.pinned) == (None, f"{NAME}@{made.digest}")

    def test_two_scans_of_a_tag_that_moves_in_between_differ(self, registry: HostileRegistry) -> None:
        first = registry.put(NAME, make.image([A]), "1.4")
        pinned = look(registry).pinned
        registry.put(NAME, make.image([A, EMPTY]), "1.4")
        assert look(registry).verdict is Verdict.BROKEN
        again = look(registry, pinned or "")
        assert (again.verdict, again.digest) == (Verdict.HOLDS, first.digest)

    def test_reads_no_layer_however_large(self, registry: HostileRegistry) -> None:
        made = make.image([A, B])
        manifest = json.loads(made.body)
        for layer in manifest["layers"]:
            layer["size"] = 5_000_000_000
        large = registry.put(NAME, make.Made(made.media_type, make.as_json(manifest), made.blobs), "1.4")
        found = look(registry)
        assert found.image is not None
        assert found.image.size == 10_000_000_000
        assert found.requests == len(registry.seen) == 3
        assert found.bytes_read < 4096
        assert found.digest == large.digest


def headers_only() -> bytes:
    """A tar without entries that is not all zeros, as ``git archive`` begins one."""
    return tarfile.TarInfo().create_pax_global_header({"comment": "a commit"}) + bytes(1024)


class TestSmallLayersThatTheirDigestsDoNotSettle:
    WITHOUT_DIFF_IDS: ClassVar = {"rootfs": {"type": "layers", "diff_ids": []}}

    @pytest.mark.parametrize("empty", [bytes(5 * 1024**2), bytes(60 * 1024**2), headers_only()])
    def test_are_looked_into(self, registry: HostileRegistry, empty: bytes) -> None:
        registry.put(NAME, make.image([A, empty, B]), "1.4")
        found = look(registry)
        (finding,) = broken(found.findings)
        assert (finding.rule, finding.path) == ("image-no-empty-layers", "image.layers[1]")
        assert found.as_dict()["looked_into"] == {"0": "entries", "1": "empty", "2": "entries"}

    def test_beyond_the_limit_could_not_be_told(self, registry: HostileRegistry) -> None:
        layers = [make.tar({f"file{i}": b"x" * i}) for i in range(10)]
        registry.put(NAME, make.image(layers, config=self.WITHOUT_DIFF_IDS), "1.4")
        found = look(registry)
        assert (found.requests, len(found.looked_into)) == (3 + MOST_SMALL_BLOBS, MOST_SMALL_BLOBS)
        (finding,) = (one for one in found.findings if one.rule == "image-no-empty-layers")
        assert (finding.verdict, finding.value) == (Verdict.UNKNOWN, 2)
        (more,) = (one for one in look(registry, most=10).findings if one.rule == "image-no-empty-layers")
        assert more.verdict is Verdict.HOLDS

    def test_of_an_ordinary_image_are_not_doubted_beyond_the_limit(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([make.tar({f"file{i}": b"x" * i}) for i in range(40)]), "1.4")
        found = look(registry)
        assert (found.verdict, found.requests) == (Verdict.HOLDS, 3 + MOST_SMALL_BLOBS)

    def test_that_the_registry_does_not_give_out_could_not_be_told(self, registry: HostileRegistry) -> None:
        made = registry.put(NAME, make.image([A, B]), "1.4")
        del registry.blobs[make.sha256(make.gz(A))]
        registry.fail(body(b"other bytes", on=make.sha256(make.gz(B))))
        found = look(registry)
        assert (found.verdict, found.digest) == (Verdict.UNKNOWN, made.digest)
        says = " ".join(one.says for one in found.findings if one.verdict is Verdict.UNKNOWN)
        assert "HTTP 404" in says
        assert "other bytes for layers[1]" in says

    def test_that_say_they_are_small_and_are_not_end_at_the_bound(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([A]), "1.4")
        registry.fail(endless(make.sha256(make.gz(A)), bytes(10_000)))
        found = look(registry)
        assert found.verdict is Verdict.UNKNOWN
        assert found.bytes_read < 256 * 1024


class TestManyImages:
    def scan(self, at: HostileRegistry, names: list[str], **more: Any) -> list[Scan]:
        return asyncio.run(scan_all(names, region="us-central1", endpoint=Endpoint.local(at.address), **more))

    def test_are_answered_in_their_order_each_with_its_own_counts(self, registry: HostileRegistry) -> None:
        made = [registry.put(f"{NAME}{i}", make.image([make.tar({"n": bytes([i])})]), "1") for i in range(60)]
        found = self.scan(registry, [f"{NAME}{i}:1" for i in range(60)])
        assert [one.digest for one in found] == [one.digest for one in made]
        assert sorted(one.requests for one in found) == [*[3] * 59, 4]  # one has asked what repository they are in
        assert len(registry.seen) == 181

    def test_share_connections_and_one_access_token(self, registry: HostileRegistry) -> None:
        asked = []

        async def token() -> str:
            asked.append(1)
            await asyncio.sleep(0.05)
            return "ya29.x"

        async def go() -> list[str]:
            async with Registry(token=token, transport=Detour(registry.address)) as shared:
                answers = [shared.apart().resolve(parse(f"{NAME}:1.4")) for _ in range(20)]
                return [image.digest for image in await asyncio.gather(*answers)]

        made = registry.put(NAME, make.image(), "1.4")
        assert asyncio.run(go()) == [made.digest] * 20
        assert len(asked) == 1

    def test_are_not_all_asked_for_at_once(self, registry: HostileRegistry) -> None:
        running, most = set(), []

        def count(request: Request) -> None:
            running.add(request.url.path)
            most.append(len({path for path in running if "/manifests/" in path}))
            if "/blobs/" in request.url.path:
                running.discard(request.url.path.partition("/blobs/")[0] + "/manifests/1")

        registry.faults = [count]
        for i in range(60):
            registry.put(f"{NAME}{i}", make.image([make.tar({"n": bytes([i])})]), "1")
        self.scan(registry, [f"{NAME}{i}:1" for i in range(60)])
        assert 1 < max(most) <= AT_ONCE

    def test_with_a_name_that_is_none_are_all_looked_at_where_missing_ones_are(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image(), "1")
        names = [f"{NAME}:1", "Bad\x1b[31m/Name:" + "x" * 5000]
        good, bad = self.scan(registry, names, missing_too=True)
        assert (good.verdict, bad.verdict) == (Verdict.HOLDS, Verdict.BROKEN)
        assert [finding.rule for finding in bad.findings] == ["image-name"]
        assert (bad.tag, bad.pinned, bad.requests) == (None, None, 0)
        assert "\x1b" not in bad.asked + "".join(table(bad))
        assert len(bad.asked) < 2100
        registry.seen.clear()
        with pytest.raises(ImageRefused, match=r"cannot be read: .* an image name has 1,024 at most"):
            self.scan(registry, names, tolerant=True)
        assert registry.seen == []

    def test_with_one_that_does_not_exist_are_an_error_even_if_tolerant(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image(), "1")
        with pytest.raises(ImageRefused, match="there is no image") as caught:
            self.scan(registry, [f"{NAME}:1", f"{NAME}-none:1"], tolerant=True)
        assert caught.value.missing


class TestATolerantScan:
    @pytest.mark.parametrize(
        ("code", "passing", "remedy"),
        [
            (401, False, "Give credentials that may read it"),
            (403, False, "The account of the Google connection needs roles/artifactregistry.reader on projects/acme/"),
            (418, False, "Mend that, and scan it again"),
            (500, True, "Scan it again, or from where"),
        ],
    )
    def test_of_what_the_registry_refuses_could_not_be_told(
        self, registry: HostileRegistry, code: int, passing: bool, remedy: str
    ) -> None:
        registry.put(NAME, make.image(), "1")
        registry.put(f"{NAME}2", make.image(), "1")
        registry.always(status(code, on="train2/"))
        many = [f"{NAME}:1", f"{NAME}2:1"]
        endpoint = Endpoint.local(registry.address)
        good, bad = asyncio.run(scan_all(many, region="us-central1", endpoint=endpoint, tolerant=True))
        assert (good.verdict, bad.verdict, bad.pinned, bad.passing) == (Verdict.HOLDS, Verdict.UNKNOWN, None, passing)
        (finding,) = (one for one in bad.findings if one.verdict is Verdict.UNKNOWN)
        assert (finding.rule, f"HTTP {code}" in finding.says) == ("image-readable", True)
        assert finding.remedy.startswith(remedy)
        assert remedy not in finding.says
        assert table(bad)[-1].startswith("Verdict   could not be told")
        refuse(bad)
        refuse(bad, "never")
        with pytest.raises(ImageRefused, match="could not be told") as caught:
            refuse(bad, "unknown")
        assert caught.value.retryable is passing

    def test_of_a_registry_that_is_not_there_could_not_be_told_and_it_is_tried_for_few(self) -> None:
        endpoint = Endpoint.local("127.0.0.1:9")
        names = [f"{NAME}{i}:1" for i in range(AT_ONCE + 20)]
        found = asyncio.run(scan_all(names, region="us-central1", endpoint=endpoint, tolerant=True))
        assert {(one.verdict, one.passing) for one in found} == {(Verdict.UNKNOWN, True)}
        assert sum(one.requests == 0 for one in found) == 20
        (finding,) = (one for one in found[-1].findings if one.verdict is Verdict.UNKNOWN)
        assert "127.0.0.1 was not asked, for it gave another image no good answer in any try" in finding.says

    @pytest.mark.parametrize(("says", "passing"), [("invalid_grant", False), ("Read timed out.", True)])
    def test_without_an_access_token_says_so_and_asks_for_it_once(
        self, registry: HostileRegistry, says: str, passing: bool
    ) -> None:
        asked = []

        async def token() -> str:
            asked.append(1)
            raise RefreshError(says)

        names = [f"{NAME}{i}:1" for i in range(30)]
        found = asyncio.run(scan_all(names, region="us-central1", endpoint=Endpoint(), token=token, tolerant=True))
        assert {(one.verdict, one.passing, one.requests) for one in found} == {(Verdict.UNKNOWN, passing, 0)}
        (finding,) = (one for one in found[-1].findings if one.verdict is Verdict.UNKNOWN)
        assert finding.says.endswith(
            f"the Google connection gave no access token for the registry (RefreshError: {says.rstrip('.')})."
        )
        assert ("A retry can help" in finding.remedy) is passing
        assert len(asked) == 1


class TestWhatIsPinnedOfAnIndex:
    def test_the_index(self, registry: HostileRegistry) -> None:
        amd, arm = make.image(), make.image([A, EMPTY], architecture="arm64")
        both = registry.put(NAME, make.index((amd, make.AMD64), (arm, make.ARM64)), "1.4")
        found = look(registry)
        assert found.pinned == f"{NAME}@{both.digest}"
        assert found.as_dict()["manifest_digest"] == amd.digest

    def test_the_manifest_where_a_machine_may_choose_another(self, registry: HostileRegistry) -> None:
        usual, fast = make.image(), make.image(history=[])
        registry.put(NAME, make.index((fast, make.AMD64 | {"variant": "v3"}), (usual, make.AMD64)), "1.4")
        assert look(registry).pinned == f"{NAME}@{usual.digest}"

    def test_the_machine_type_decides_which_image_is_looked_at(self, registry: HostileRegistry) -> None:
        amd, arm = make.image(), make.image([A, EMPTY], architecture="arm64")
        registry.put(NAME, make.index((amd, make.AMD64), (arm, make.ARM64)), "1.4")
        assert look(registry, machine_type="n2-standard-4").verdict is Verdict.HOLDS
        assert look(registry, machine_type="c4a-standard-4").verdict is Verdict.BROKEN

    def test_without_the_platform_it_is_refused_with_those_it_has(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.index((make.image(), make.AMD64)), "1.4")
        found = look(registry, machine_type="t2a-standard-1")
        assert (found.verdict, found.pinned) == (Verdict.BROKEN, None)
        with pytest.raises(ImageRefused, match=r"not there for linux/arm64, .*; it has linux/amd64"):
            refuse(found)


class TestThePlatformOfAMachineType:
    @pytest.mark.parametrize(
        "machine_type", ["c4a-standard-8", "t2a-standard-1", "n4a-custom-2-4096", "a4x-highgpu-4g", "C4A-x"]
    )
    def test_arm(self, machine_type: str) -> None:
        assert str(platform_of(machine_type)) == "linux/arm64"

    @pytest.mark.parametrize(
        "machine_type", ["", "e2-standard-4", "c4-standard-8", "n4-standard-2", "a4-highgpu-8g", "t2d-x"]
    )
    def test_x86(self, machine_type: str) -> None:
        assert str(platform_of(machine_type)) == "linux/amd64"


class TestANameThatBreaksARule:
    @pytest.mark.parametrize(
        "image_uri", ["python:3.12", "gcr.io/acme/tool:1", "quay.io/a/b", "us-docker.pkg.dev/acme/batch"]
    )
    def test_is_answered_without_asking_any_registry_or_for_a_token(self, image_uri: str) -> None:
        async def never() -> str:
            raise AssertionError("a token was asked for")

        found = asyncio.run(scan(image_uri, region="us-central1", endpoint=Endpoint(), token=never))
        assert (found.verdict, found.requests, found.pinned) == (Verdict.BROKEN, 0, None)
        assert "nothing: the name alone tells" in "\n".join(table(found))

    def test_the_wrong_location_too(self, registry: HostileRegistry) -> None:
        found = look(registry, region="europe-west2")
        assert (found.verdict, registry.seen) == (Verdict.BROKEN, [])

    def test_what_is_no_name_is_an_error_with_a_finding(self, registry: HostileRegistry) -> None:
        with pytest.raises(ImageRefused, match="upper-case letters, write train") as caught:
            look(registry, "us-docker.pkg.dev/acme/batch/Train:1.4")
        assert [finding.rule for finding in caught.value.findings] == ["image-name"]


class TestARegistryThatDoesNotGiveItOut:
    def test_is_an_error_and_no_verdict(self, registry: HostileRegistry) -> None:
        registry.fail(status(403))
        with pytest.raises(ImageRefused, match=r"roles/artifactregistry\.reader") as caught:
            look(registry)
        assert caught.value.findings == ()


class TestTheRefusal:
    def test_obeys_fail_on(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([A, EMPTY], layer_type="application/vnd.oci.image.layer.v1.tar+zstd"), "1.4")
        found = look(registry)
        refuse(found, "never")
        with pytest.raises(ImageRefused, match="1 rule is broken") as caught:
            refuse(found, "unknown")
        assert [finding.rule for finding in caught.value.findings][:1] == ["image-no-empty-layers"]
        assert "image-layer-formats" in [finding.rule for finding in caught.value.findings]

    def test_names_every_broken_rule_with_its_remedy(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([A, EMPTY, A]), "1.4")
        with pytest.raises(ImageRefused) as caught:
            refuse(look(registry))
        text = str(caught.value)
        assert text.startswith(f"{NAME}:1.4 cannot be streamed, 2 rules are broken:\n  - layers[1]")
        assert text.count("enable_image_streaming=False") == 2
        assert not caught.value.retryable

    def test_counts_rules_and_not_layers(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([EMPTY, A, bytes(1024)]), "1.4")
        with pytest.raises(ImageRefused, match="1 rule is broken"):
            refuse(look(registry))


class TestWhatIsShown:
    HISTORY = (
        {"created_by": "FROM debian:12"},
        {"created_by": "/bin/sh -c #(nop) WORKDIR /srv/app/a/rather/long/path/that/goes/on/and/on"},
        {"created_by": "RUN |1 PIP_TOKEN=hunter2 /bin/sh -c pip install -r requirements.txt # buildkit"},
    )

    def lines(self, registry: HostileRegistry) -> list[str]:
        made = make.image([A, EMPTY, A], history=self.HISTORY)
        registry.put("us-docker.pkg.dev/acme/batch/" + "x" * 120, make.index((made, make.AMD64)), "1.4")
        return table(look(registry, "us-docker.pkg.dev/acme/batch/" + "x" * 120 + ":1.4"))

    def test_fits_100_columns_with_long_names(self, registry: HostileRegistry) -> None:
        lines = self.lines(registry)
        assert max(map(len, lines)) <= WIDTH
        assert not [line for line in lines if line != line.rstrip() or "\n" in line]

    def test_puts_the_broken_rules_first_and_the_verdict_last(self, registry: HostileRegistry) -> None:
        lines = self.lines(registry)
        rules = [line.split() for line in lines if line.startswith("  ") and line[2] != " "]
        assert [(mark, rule) for mark, rule, *_ in rules][:3] == [
            ("BROKEN", "image-no-empty-layers"),
            ("BROKEN", "image-no-duplicate-layers"),
            ("holds", "image-in-artifact-registry"),
        ]
        assert lines[-1] == "Verdict   does not stream: 2 rules are broken."

    def test_names_layer_digest_size_and_step_without_secrets(self, registry: HostileRegistry) -> None:
        text = " ".join(" ".join(self.lines(registry)).split())
        assert f"layers[1] ({make.sha256(make.gz(EMPTY))[:19]}, {len(make.gz(EMPTY))} bytes, made by `WORKDIR" in text
        assert "made by `RUN pip install …`)" in text
        assert "hunter2" not in text

    def test_says_what_was_read(self, registry: HostileRegistry) -> None:
        assert "5 requests" in " ".join(self.lines(registry))  # index, manifest, config, one small layer; repository
        registry.put(NAME, make.image([A]), "1.4")
        text = "\n".join(table(look(registry)))
        assert "linux/amd64, 1 layer, 95 B compressed" in text
        assert "4 requests" in text
        assert "; 1 small layer looked into, no other was downloaded" in text
        assert text.endswith("Verdict   may be streamed: every rule that can be checked beforehand holds.")

    def test_a_warning_and_an_unknown_have_verdicts_of_their_own(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image(), "1.4")
        warned = Finding("image-rule", Verdict.WARNING, "image", "", "It is odd.")
        found = replace(look(registry), findings=(warned,))
        assert table(found)[-1] == "Verdict   no rule is broken, but see the warning above."
        registry.put(NAME, make.image(layer_type="application/vnd.oci.image.layer.v1.tar+zstd"), "1.4")
        assert table(look(registry))[-1] == "Verdict   could not be told: see above for what would tell."


class TestTheSmallDict:
    def test_is_json_and_leaves_out_what_holds(self, registry: HostileRegistry) -> None:
        made = registry.put(NAME, make.image([A, EMPTY]), "1.4")
        told = json.loads(json.dumps(look(registry).as_dict()))
        assert {key: told[key] for key in ("image", "pinned", "tag", "digest", "platform", "verdict", "layers")} == {
            "image": f"{NAME}:1.4",
            "pinned": f"{NAME}@{made.digest}",
            "tag": "1.4",
            "digest": made.digest,
            "platform": "linux/amd64",
            "verdict": "broken",
            "layers": 2,
        }
        assert [finding["rule"] for finding in told["findings"]] == ["image-no-empty-layers"]

    def test_stays_small_for_an_image_of_a_thousand_faults(self, registry: HostileRegistry) -> None:
        registry.put(NAME, make.image([bytes(512 * i) for i in range(1000)]), "1.4")
        assert len(json.dumps(look(registry).as_dict())) < 32_000


class TestTheLocalBatchsOwnRegistry:
    def test_is_read_like_any_other(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        made = make.image([A, B])
        for blob in made.blobs.values():
            store.put_blob(NAME, blob)
        store.put_manifest(NAME, "1.4", made.media_type, made.body)
        with HostileRegistry(app=registry_app(store)) as local:
            found = look(local)
            assert (found.verdict, found.digest) == (Verdict.HOLDS, made.digest)
            with pytest.raises(ImageRefused, match=r"has no tag 1\.5 \(HTTP 404\)\. The nearest is 1\.4"):
                look(local, f"{NAME}:1.5")
            with pytest.raises(ImageRefused, match=r"there is no image .*acme.batch.none"):
                look(local, "us-docker.pkg.dev/acme/batch/none:1")
