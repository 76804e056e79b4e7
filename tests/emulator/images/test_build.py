"""Small images without Docker: built, pushed, run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from airflow_batchstream.cli.image import app
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.emulator.images import closure
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.closure import BuildError
from airflow_batchstream.emulator.images.layout import Layout, LayoutError
from airflow_batchstream.emulator.images.push import PushError, push
from airflow_batchstream.emulator.images.unpack import Bundle, prepare
from airflow_batchstream.emulator.runtimes.base import Container
from airflow_batchstream.emulator.runtimes.rootfs import View
from airflow_batchstream.emulator.runtimes.select import choose

NAME = "us-docker.pkg.dev/project/repo/image"


@pytest.fixture
def made(tmp_path: Path, registry: Any) -> Any:
    """Builds an image, pushes it over HTTP and unpacks it."""

    def made(**spec: Any) -> Bundle:
        build(ImageSpec(**spec), tmp_path / "layout")
        push(Layout(tmp_path / "layout"), parse(f"{NAME}:1"), registry.address)
        return prepare(registry.store, parse(f"{NAME}:1"), tmp_path / "cache")

    return made


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Runs an image's own command."""

    def run(bundle: Bundle, *argv: str) -> tuple[int, str]:
        env = dict(pair.split("=", 1) for pair in bundle.config["Env"])
        words = list(argv) or [*bundle.config.get("Entrypoint", ()), *bundle.config.get("Cmd", ())]
        container = Container(
            words, env, bundle.config["WorkingDir"], bundle.config.get("User", ""), rootfs=bundle.rootfs
        )
        out: list[bytes] = []
        (tmp_path / "scratch").mkdir()

        async def scene() -> int:
            running = await choose().runtime.start(container, tmp_path / "scratch", out.append, out.append)
            return await running.wait()

        return asyncio.run(scene()), b"".join(out).decode()

    return run


class TestBuild:
    @pytest.mark.parametrize("settings", [{}, {"python": True}, {"gzip": True}], ids=["plain", "python", "gzip"])
    def test_twice_the_same_digest(self, tmp_path: Path, settings: Any) -> None:
        first = build(ImageSpec(**settings), tmp_path / "1")
        second = build(ImageSpec(**settings), tmp_path / "2")
        assert first == second

    def test_it_is_quick(self, tmp_path: Path) -> None:
        started = time.process_time()
        build(ImageSpec(), tmp_path / "1")
        assert time.process_time() - started < 2

    def test_the_digest_does_not_depend_on_times_and_owners_of_added_files(self, tmp_path: Path) -> None:
        digests = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "run.sh").write_text("echo 1\n")
            (tmp_path / name / "run.sh").chmod(0o700 if name == "a" else 0o755)
            time.sleep(0.01)
            digests.append(build(ImageSpec(add=((tmp_path / name, "/app"),)), tmp_path / f"{name}-layout"))
        assert digests[0] == digests[1]

    def test_other_content_is_another_digest(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("1")
        first = build(ImageSpec(add=((tmp_path / "f", "/f"),)), tmp_path / "l")
        (tmp_path / "f").write_text("2")
        assert build(ImageSpec(add=((tmp_path / "f", "/f"),)), tmp_path / "l") != first

    def test_the_config_says_what_was_asked(self, made: Any) -> None:
        config = made(
            entrypoint=("sh", "-c"), cmd=("id",), env={"A": "1"}, user="batch", workdir="/work", labels={"l": "x"}
        ).config
        assert config == {
            "Cmd": ["id"],
            "Entrypoint": ["sh", "-c"],
            "Env": [f"PATH={closure.PATH}", "A=1"],
            "Labels": {"l": "x"},
            "User": "batch",
            "WorkingDir": "/work",
        }

    def test_no_layer_is_empty_or_there_twice(self, tmp_path: Path) -> None:
        """Image streaming takes neither."""
        (tmp_path / "f").write_text("1")
        build(ImageSpec(python=True, add=((tmp_path / "f", "/f"),)), tmp_path / "l")
        layers = json.loads(Layout(tmp_path / "l").manifest()[2])["layers"]
        assert len({layer["digest"] for layer in layers}) == len(layers) == 3
        assert all(layer["size"] > 10240 or index == 2 for index, layer in enumerate(layers))

    def test_files_of_yours_are_in_it(self, made: Any, tmp_path: Path) -> None:
        (tmp_path / "app/sub").mkdir(parents=True)
        (tmp_path / "app/run.sh").write_text("echo 1\n")
        (tmp_path / "app/sub/link").symlink_to("../run.sh")
        (tmp_path / "one").write_text("one")
        (tmp_path / "empty").mkdir()
        view = View(
            made(
                add=(
                    (tmp_path / "app", "/opt/app/"),
                    (tmp_path / "one", "/etc/renamed"),
                    (tmp_path / "one", "/opt/"),
                    (tmp_path / "empty", "/opt/empty"),
                )
            ).rootfs.layers
        )
        assert view.read("opt/app/sub/link") == b"echo 1\n"
        assert view.read("etc/renamed") == view.read("opt/one") == b"one"
        assert view.find("opt/empty").real.is_dir()  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("source", "target", "says"),
        [("missing", "/x", "there is no"), ("f", "x", "starts with /"), ("f", "/../x", "starts with /")],
    )
    def test_what_cannot_be_added_is_refused(self, tmp_path: Path, source: str, target: str, says: str) -> None:
        (tmp_path / "f").touch()
        with pytest.raises(BuildError, match=says):
            build(ImageSpec(add=((tmp_path / source, target),)), tmp_path / "l")

    def test_a_machine_without_ldd_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(closure, "LDD", "no-such-ldd")
        with pytest.raises(BuildError, match=r"has no `ldd`.*or build the image with Docker"):
            build(ImageSpec(), tmp_path / "l")

    def test_a_machine_without_a_shell_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(closure, "PATH", str(tmp_path))
        with pytest.raises(BuildError, match="has no `sh`"):
            build(ImageSpec(), tmp_path / "l")

    def test_an_image_of_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match="no files"):
            build(ImageSpec(tools=False), tmp_path / "l")


class TestRunning:
    def test_the_shell_and_its_tools_run(self, made: Any, run: Any) -> None:
        assert run(made(cmd=("sh", "-c", "echo hello | tr a-z A-Z; seq 3 | tail -1"))) == (0, "HELLO\n3\n")

    def test_python_runs_with_its_standard_library(self, made: Any, run: Any) -> None:
        program = "import json, ssl, sqlite3, sys; print(json.dumps(sys.version_info[:2]))"
        code, text = run(made(python=True), "python3", "-c", program)
        assert (code, json.loads(text)) == (0, list(sys.version_info[:2]))

    def test_a_file_of_yours_runs(self, made: Any, run: Any, tmp_path: Path) -> None:
        (tmp_path / "hello").write_text("#!/bin/sh\necho hello from $0\n")
        (tmp_path / "hello").chmod(0o755)
        code, text = run(made(add=((tmp_path / "hello", "/app/hello"),), cmd=("/app/hello",)))
        assert (code, text.rpartition("/")[2]) == (0, "hello\n")


class TestPush:
    def test_the_digest_is_the_same_there(self, tmp_path: Path, registry: Any) -> None:
        digest = build(ImageSpec(), tmp_path / "l")
        assert push(Layout(tmp_path / "l"), parse(f"{NAME}:1"), registry.address) == digest
        assert registry.store.manifest(NAME, "1").digest == digest

    def test_the_second_time_nothing_is_sent(self, tmp_path: Path, registry: Any) -> None:
        build(ImageSpec(), tmp_path / "l")
        said: list[str] = []
        for tag in ("1", "2"):
            push(Layout(tmp_path / "l"), parse(f"{NAME}:{tag}"), registry.address, said.append)
        assert [line.split()[0] for line in said] == ["pushed", "pushed", "there", "there"]

    def test_without_the_local_batch_the_names_own_registry_is_asked(self, tmp_path: Path, registry: Any) -> None:
        build(ImageSpec(), tmp_path / "l")
        push(Layout(tmp_path / "l"), parse(f"{registry.address}/eu.gcr.io/p/image:1"))
        assert registry.store.tags("eu.gcr.io/p/image") == ["1"]

    def test_a_name_with_another_digest_is_refused(self, tmp_path: Path, registry: Any) -> None:
        build(ImageSpec(), tmp_path / "l")
        with pytest.raises(PushError, match="leave the digest out"):
            push(Layout(tmp_path / "l"), parse(f"{NAME}@sha256:{'0' * 64}"), registry.address)

    def test_nobody_listening_is_told(self, tmp_path: Path) -> None:
        build(ImageSpec(), tmp_path / "l")
        with pytest.raises(PushError, match=r"cannot reach .* Is the local Batch running\?"):
            push(Layout(tmp_path / "l"), parse(f"{NAME}:1"), "127.0.0.1:1")

    def test_what_is_no_layout_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(LayoutError, match=r"no OCI image layout: its index\.json cannot be read"):
            push(Layout(tmp_path), parse(f"{NAME}:1"), "127.0.0.1:1")

    def test_a_layout_that_lacks_a_blob_is_told(self, tmp_path: Path, registry: Any) -> None:
        build(ImageSpec(), tmp_path / "l")
        layout = Layout(tmp_path / "l")
        layout.blob(next(layout.blobs())).unlink()
        with pytest.raises(LayoutError, match="lacks the blob"):
            push(layout, parse(f"{NAME}:1"), registry.address)

    def test_the_registrys_words_are_told(self, tmp_path: Path, registry: Any) -> None:
        build(ImageSpec(), tmp_path / "l")
        layout = Layout(tmp_path / "l")
        layout.blob(next(layout.blobs())).write_bytes(b"changed")
        with pytest.raises(PushError, match=r"did not take the blob .* \(400 DIGEST_INVALID: what arrived"):
            push(layout, parse(f"{NAME}:1"), registry.address)


class TestCommands:
    def call(self, *words: str, **env: str) -> Any:
        return CliRunner().invoke(app, list(words), env=env)

    def test_build_and_push_in_one_go(self, registry: Any) -> None:
        done = self.call("build", "-t", f"{NAME}:1", "--cmd", "echo hi", "--push", BATCH_EMULATOR_HOST=registry.address)
        assert done.exit_code == 0, done.output
        assert done.stdout == f"{NAME}@{registry.store.manifest(NAME, '1').digest}\n"

    def test_build_to_a_folder_and_push_that(self, registry: Any, tmp_path: Path) -> None:
        built = self.call("build", "-t", f"{NAME}:1", "-o", str(tmp_path / "l"), "--env", "A=1", "--user", "batch")
        assert built.exit_code == 0, built.output
        pushed = self.call("push", str(tmp_path / "l"), f"{NAME}:2", "--emulator", registry.address)
        assert pushed.exit_code == 0, pushed.output
        assert built.stdout == pushed.stdout
        assert registry.store.tags(NAME) == ["2"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["-t", f"{NAME}:1"], "say where the image shall go"),
            (["-t", "US-docker.pkg.dev/x", "--push"], "upper-case letters"),
            (["-t", f"{NAME}:1", "--push", "--env", "A"], "--env 'A': write NAME=VALUE"),
            (["-t", f"{NAME}:1", "--push", "--add", "x"], "--add 'x': write SRC:DST"),
            (["-t", f"{NAME}:1", "--push", "--add", "/missing:/x"], "there is no /missing"),
            (["-t", f"{NAME}:1", "--push", "--entrypoint", "'"], "No closing quotation"),
        ],
    )
    def test_mistakes_get_a_sentence(self, words: list[str], says: str) -> None:
        done = self.call("build", *words, BATCH_EMULATOR_HOST="127.0.0.1:1")
        assert done.exit_code == 64
        assert says in done.stderr
        assert "Traceback" not in done.output

    def test_the_installed_command_has_them(self) -> None:
        program = Path(sys.executable).with_name("batchstream")
        if not program.exists():
            pytest.skip("the package is not installed")
        done = subprocess.run([program, "image", "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "build" in done.stdout
        assert "push" in done.stdout
