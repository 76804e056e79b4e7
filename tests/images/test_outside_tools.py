"""Images as other people's programs make them: each gets the right answer, and the repaired one is the same to a job.

Which builder leaves an empty layer differs by builder and version: what is said of it here was seen with Debian's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from outside_tools import REPOSITORY, Buildah, Docker, Skopeo, Umoci, run

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.scanned import Scan, refuse
from airflow_batchstream.emulator.testing import Local
from airflow_batchstream.services.repair import repair

Look = Callable[..., Scan]
Trees = Callable[..., list[dict[str, str]]]
EMPTY, TWICE, FORMAT = "image-no-empty-layers", "image-no-duplicate-layers", "image-layer-formats"
ONE_EACH = "ADD tree.tar /\nCOPY hello other /srv/\nENV GREETING=hello\nWORKDIR /srv/new\n"
NOTHING = "ADD tree.tar /\nRUN exit\nRUN true\n"
"""The first command's layer has the folders that a container is given (``/proc``), which this base lacks."""
TO_AND_FRO = "COPY hello /said\nCOPY other /said\nCOPY hello /said\nADD tree.tar /\n"
"""The third layer is the first one again."""


def broken(scan: Scan) -> list[str]:
    """The rules that are broken, each once."""
    return sorted({finding.rule for finding in scan.findings if finding.verdict is Verdict.BROKEN})


def untold(scan: Scan) -> list[str]:
    """The rules that do not hold, if none is broken."""
    assert broken(scan) == []
    return sorted({finding.rule for finding in scan.findings if finding.verdict is not Verdict.HOLDS})


def formats(scan: Scan) -> list[str]:
    """How each layer is compressed, by its media type."""
    assert scan.image is not None
    return [layer.compression for layer in scan.image.layers]


class Mended:
    """Repairs an image of the local Batch's registry."""

    def __init__(self, local: Local, look: Look, trees: Trees) -> None:
        self._local, self._look, self._trees = local, look, trees

    def __call__(self, name: str, like: str = "", *, zstd: bool = False) -> dict[str, str]:
        """Repair the image and run a job on it; the tree that it saw, which is that of the image before.

        :param like: an image with the same tree, where the one to repair does not run.
        :param zstd: its layers are, of which Google does not say whether they are streamed.
        """
        target = f"{name}-repaired"
        done = asyncio.run(repair(name, target, endpoint=Endpoint.local(self._local.address)))
        found = self._look(target)
        assert (untold(found), found.digest) == ([FORMAT] if zstd else [], done.digest)
        before, after = self._trees(like or name, target)
        assert after == before
        return after


@pytest.fixture
def mended(local: Local, look: Look, trees: Trees) -> Mended:
    return Mended(local, look, trees)


def has_owners(tree: dict[str, str]) -> bool:
    """Whether files that the build gave to somebody are still theirs, with modes that a copy loses."""
    plain, folder = tree["srv/data/plain"], tree["srv/data"]
    assert plain.endswith(" =srv/data/hard")
    assert tree["srv/data/soft"].startswith("l 777 ")
    return plain.startswith("f 751 1234:5678 19 ") and folder.startswith("d 2750 1234:5678")


@pytest.mark.parametrize("buildkit", [False, True], ids=["classic", "buildkit"])
class TestDocker:
    def test_one_layer_each(self, docker: Docker, context: Path, look: Look, buildkit: bool) -> None:
        name = f"{REPOSITORY}/docker{buildkit:d}:one-each"
        docker.make(name, context, ONE_EACH, buildkit=buildkit)
        assert look(name).verdict is Verdict.HOLDS

    def test_a_folder_that_is_there_and_a_command_that_writes_nothing(
        self, docker: Docker, context: Path, look: Look, mended: Mended, buildkit: bool
    ) -> None:
        name = f"{REPOSITORY}/docker{buildkit:d}:nothing"
        docker.make(name, context, f"{NOTHING}WORKDIR /srv/data\n", buildkit=buildkit)
        found = look(name)
        assert found.image is not None
        assert found.image.config is not None
        run, workdir = found.image.config.history[-2:]
        assert ["true" in run.created_by, "WORKDIR" in workdir.created_by] == [True, True]
        assert run.empty_layer is workdir.empty_layer is not buildkit
        if not buildkit:  # leaves such layers out itself
            assert found.verdict is Verdict.HOLDS
            return
        assert broken(found) == [TWICE, EMPTY]
        (empty,) = [one.says for one in found.findings if one.rule == EMPTY]
        assert [f"layers[{index}] (" in empty for index in range(5)] == [False, False, False, True, True]
        assert has_owners(mended(name))

    def test_the_same_file_again(
        self, docker: Docker, context: Path, look: Look, mended: Mended, buildkit: bool
    ) -> None:
        name = f"{REPOSITORY}/docker{buildkit:d}:twice"
        docker.make(name, context, TO_AND_FRO, buildkit=buildkit)
        assert broken(look(name)) == [TWICE]
        assert has_owners(mended(name))


class TestBuildah:
    @pytest.mark.parametrize("kind", ["oci", "docker"])
    def test_one_layer_each(self, buildah: Buildah, context: Path, look: Look, kind: str) -> None:
        name = f"{REPOSITORY}/buildah:one-each-{kind}"
        buildah.make(name, context, ONE_EACH, f"--format={kind}")
        found = look(name)
        assert found.verdict is Verdict.HOLDS
        assert found.image is not None
        assert kind in found.image.manifest.media_type

    def test_a_folder_that_is_there_and_a_command_that_writes_nothing(
        self, buildah: Buildah, context: Path, look: Look, mended: Mended
    ) -> None:
        name = f"{REPOSITORY}/buildah:nothing"
        buildah.make(name, context, f"{NOTHING}WORKDIR /srv/data\n")
        found = look(name)
        assert found.image is not None
        assert found.image.config is not None
        assert [step.empty_layer for step in found.image.config.history[-2:]] == [False, True]
        assert broken(found) == [EMPTY]
        assert has_owners(mended(name))

    def test_a_commit_of_what_nobody_changed(self, buildah: Buildah, context: Path, look: Look, mended: Mended) -> None:
        name = f"{REPOSITORY}/buildah:commit"
        buildah.make(f"{name}-from", context, ONE_EACH)
        container = buildah("from", f"localhost/{name}-from")
        buildah("config", "--workingdir=/srv", container)
        buildah("commit", "--quiet", container, f"localhost/{name}")
        buildah.push(name)
        assert broken(look(name)) == [EMPTY]
        assert has_owners(mended(name))

    def test_the_same_file_again(self, buildah: Buildah, context: Path, look: Look, mended: Mended) -> None:
        name = f"{REPOSITORY}/buildah:twice"
        buildah.make(name, context, TO_AND_FRO)
        assert broken(look(name)) == [TWICE]
        assert has_owners(mended(name))


class TestUmoci:
    def test_files_put_in(self, umoci: Umoci, context: Path, look: Look) -> None:
        name = f"{REPOSITORY}/umoci:one-each"
        umoci.make(name, ("insert", context / "hello", "/srv/hello"), ("config", "--config.workingdir", "/srv"))
        assert look(name).verdict is Verdict.HOLDS

    def test_an_empty_archive(self, umoci: Umoci, context: Path, look: Look, mended: Mended) -> None:
        name = f"{REPOSITORY}/umoci:nothing"
        tar, empty = context / "tree.tar", context / "empty.tar"
        umoci.make(name, ("raw", "add-layer", empty), ("raw", "add-layer", tar))
        assert broken(look(name)) == [EMPTY]
        assert has_owners(mended(name))

    def test_the_same_archive_again(self, umoci: Umoci, context: Path, look: Look, mended: Mended) -> None:
        name = f"{REPOSITORY}/umoci:twice"
        tar = context / "tree.tar"
        umoci.make(name, ("raw", "add-layer", tar), ("raw", "add-layer", tar))
        assert broken(look(name)) == [TWICE]
        assert has_owners(mended(name))


@pytest.fixture(scope="module")
def plain(umoci: Umoci, context: Path) -> str:
    """An image that may be streamed."""
    name = f"{REPOSITORY}/skopeo:plain"
    umoci.make(name, ("raw", "add-layer", context / "tree.tar"))
    return name


class TestSkopeo:
    @pytest.mark.parametrize("kind", ["oci", "v2s2"])
    def test_what_it_writes_as_schema_2(self, skopeo: Skopeo, plain: str, look: Look, kind: str) -> None:
        name = f"{REPOSITORY}/skopeo:{kind}"
        skopeo.convert(plain, name, f"--format={kind}")
        assert look(name).verdict is Verdict.HOLDS

    def test_what_it_writes_as_schema_1(self, skopeo: Skopeo, plain: str, look: Look, mended: Mended) -> None:
        name = f"{REPOSITORY}/skopeo:v2s1"
        skopeo.convert(plain, name, "--format=v2s1")
        assert broken(look(name)) == ["image-manifest-schema"]
        assert has_owners(mended(name, like=plain))
        skopeo.convert(name, f"{name}-back", "--format=v2s2")  # the other way, which the repair's bound names
        assert look(f"{name}-back").verdict is Verdict.HOLDS

    def test_what_it_encrypts(self, skopeo: Skopeo, plain: str, look: Look, tmp_path: Path) -> None:
        name = f"{REPOSITORY}/skopeo:secret"
        run("openssl", "genrsa", "-out", tmp_path / "key", "2048")
        run("openssl", "rsa", "-in", tmp_path / "key", "-pubout", "-out", tmp_path / "key.pub")
        skopeo.convert(plain, name, f"--encryption-key=jwe:{tmp_path}/key.pub", "--format=oci")
        found = look(name)
        assert found.verdict is Verdict.UNKNOWN
        assert "encrypted" in " ".join(f.says for f in found.findings)


def anew(address: str, name: str) -> str:
    """A name of the registry by which skopeo and buildah do not know its layers; those they know as gzip stay gzip."""
    return f"docker://{address.replace('127.0.0.1', 'localhost')}/{name}"


class TestZstd:
    def test_by_skopeo_of_an_image_that_may_be_streamed(
        self, skopeo: Skopeo, plain: str, look: Look, trees: Trees
    ) -> None:
        name = f"{REPOSITORY}/zstd:plain"
        skopeo.copy(skopeo.there(plain), anew(skopeo.address, name), "--dest-compress-format=zstd")
        found = look(name)
        assert set(formats(found)) == {"zstd"}
        assert untold(found) == [FORMAT]
        before, after = trees(plain, name)
        assert after == before
        assert has_owners(after)

    @pytest.mark.parametrize("kind", ["empty", "headers"])
    def test_by_skopeo_of_an_image_with_an_empty_archive(
        self, umoci: Umoci, skopeo: Skopeo, context: Path, look: Look, mended: Mended, kind: str
    ) -> None:
        made, name = f"{REPOSITORY}/umoci:{kind}", f"{REPOSITORY}/zstd:{kind}"
        umoci.make(made, ("raw", "add-layer", context / f"{kind}.tar"), ("raw", "add-layer", context / "tree.tar"))
        skopeo.copy(skopeo.there(made), anew(skopeo.address, name), "--dest-compress-format=zstd")
        found = look(name)
        assert set(formats(found)) == {"zstd"}
        assert broken(found) == [EMPTY]
        assert has_owners(mended(name, zstd=True))

    def test_by_buildah_of_a_commit_of_what_nobody_changed(
        self, buildah: Buildah, context: Path, look: Look, mended: Mended
    ) -> None:
        name = f"{REPOSITORY}/zstd:commit"
        buildah.make(f"{name}-from", context, ONE_EACH)
        container = buildah("from", f"localhost/{name}-from")
        buildah("commit", "--quiet", container, f"localhost/{name}")
        there = anew(buildah.address, name)
        buildah("push", "--quiet", "--tls-verify=false", "--compression-format=zstd", f"localhost/{name}", there)
        found = look(name)
        assert "zstd" in formats(found)
        assert broken(found) == [EMPTY]
        assert has_owners(mended(name, zstd=True))


@pytest.fixture(scope="module")
def both(buildah: Buildah, umoci: Umoci, skopeo: Skopeo, context: Path) -> str:
    """An image for two architectures, the one with an empty layer, put together by buildah."""
    name = f"{REPOSITORY}/index"
    tar, empty = context / "tree.tar", context / "empty.tar"
    umoci.make(f"{name}:amd64", ("raw", "add-layer", empty), ("raw", "add-layer", tar))
    umoci.make(f"{name}:arm64", ("config", "--architecture", "arm64"), ("raw", "add-layer", tar))
    buildah("manifest", "create", "localhost/both")
    for architecture in ("amd64", "arm64"):
        buildah("manifest", "add", "--tls-verify=false", "localhost/both", skopeo.there(f"{name}:{architecture}"))
    buildah("manifest", "push", "--all", "--tls-verify=false", "localhost/both", skopeo.there(f"{name}:both"))
    return f"{name}:both"


class TestAnIndex:
    def test_is_judged_by_the_image_of_the_job_s_machines(self, both: str, look: Look, mended: Mended) -> None:
        assert broken(look(both)) == [EMPTY]
        assert look(both, "c4a-standard-4").verdict is Verdict.HOLDS
        assert has_owners(mended(both))
        assert look(f"{both}-repaired", "c4a-standard-4").verdict is Verdict.HOLDS

    def test_without_an_image_for_them_it_is_refused(self, skopeo: Skopeo, both: str, look: Look) -> None:
        raw = json.loads(run(skopeo.path, "inspect", "--raw", "--tls-verify=false", skopeo.there(both)))
        assert len(raw["manifests"]) == 2
        found = look(both.replace(":both", ":arm64"))
        assert "image-platform" in broken(found)
        with pytest.raises(ImageRefused, match="linux/arm64"):
            refuse(found)
