"""The process runtime: the image's programs without the image's root, and honest words about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.images.tree import File, Link, Tree
from airflow_batchstream.emulator.runtimes.base import Mount, Rootfs, Runtime
from airflow_batchstream.emulator.runtimes.program import locate
from airflow_batchstream.emulator.runtimes.rootfs import View


class TestWhichProgram:
    def test_the_images_own_by_the_images_own_loader(self, process: Runtime, run: Any) -> None:
        ran = run.sh(process, "tr '\\0' '\\n' </proc/$$/cmdline | head -1; exit 3")
        loader = ran.text.strip()
        assert ran.code == 3
        assert "/merged/" in loader
        assert "/ld-" in loader
        assert any(notice.startswith("the program is the image's /") for notice in ran.notices)

    def test_this_machines_where_the_image_has_none(
        self, process: Runtime, run: Any, make_image: Callable[..., Rootfs]
    ) -> None:
        ran = run.sh(process, "echo from here", rootfs=make_image({"data": File(b"x")}))
        assert (ran.code, ran.text) == (0, "from here\n")
        assert "the image holds no sh that can run outside of it: this machine's is used" in ran.notices

    def test_a_static_one_is_run_as_it_is(
        self, process: Runtime, run: Any, make_image: Callable[..., Rootfs], static_program: bytes
    ) -> None:
        rootfs = make_image({"opt/hello": File(static_program, 0o755), "bin/hello": Link("../opt/hello")})
        assert run(process, "hello", rootfs=rootfs, env={"PATH": "/bin"}).code == 42

    def test_a_link_is_followed_inside_the_image(
        self, process: Runtime, run: Any, make_image: Callable[..., Rootfs], static_program: bytes
    ) -> None:
        """``/bin/hello`` of this machine does not exist; an absolute link means the image's root."""
        rootfs = make_image({"opt/hello": File(static_program, 0o755), "bin/hello": Link("/opt/hello")})
        assert run(process, "/bin/hello", rootfs=rootfs).code == 42

    def test_what_it_starts_is_found_here_and_then_in_the_image(
        self, process: Runtime, run: Any, make_image: Callable[..., Rootfs], machine_tree: Tree, static_program: bytes
    ) -> None:
        rootfs = make_image(machine_tree | {"usr/bin/only-in-the-image": File(static_program, 0o755)})
        ran = run.sh(process, "only-in-the-image; echo $?", rootfs=rootfs)
        assert ran.text == "42\n"

    def test_scripts_find_their_interpreter_in_the_image(
        self, make_image: Callable[..., Rootfs], machine_tree: Tree
    ) -> None:
        scripts: Tree = {
            "a": File(b"#!/bin/sh -e\n", 0o755),
            "b": File(b"#!/usr/bin/env sh\n", 0o755),
            "c": File(b"#! /usr/bin/env -S sh -x\n", 0o755),
            "d": File(b"#!/no/such\n", 0o755),
            "e": File(b"no program\n", 0o755),
        }
        rootfs = make_image(machine_tree | scripts)
        root, view = rootfs.layers[0], View(rootfs.layers)
        shell = str(View(rootfs.layers).find("bin/sh").real)  # type: ignore[union-attr]

        def tail(name: str) -> list[str]:
            argv = list(locate([f"/{name}", "x"], {"PATH": "/usr/bin:/bin"}, view).argv)
            return argv[argv.index(shell) + 1 :] if shell in argv else argv

        assert tail("a") == ["-e", str(root / "a"), "x"]
        assert tail("b") == [str(root / "b"), "x"]
        assert tail("c") == ["-x", str(root / "c"), "x"]
        assert tail("d") == ["/d", "x"]  # left to this machine
        assert tail("e") == ["/e", "x"]


class TestWhatItCannotDo:
    def test_it_says_so(self, process: Runtime, run: Any, tmp_path: Path) -> None:
        ran = run.sh(process, "true", user="4711", network=False, mounts=(Mount(tmp_path, "/mnt/x", read_only=True),))
        said = "\n".join(ran.notices)
        assert "without isolation" in said
        assert f"/mnt/x is {tmp_path}" in said
        assert "not as the image's '4711'" in said
        assert "though the job asks for none" in said

    def test_paths_of_volumes_are_replaced_whole_ones_only(self, process: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "v").mkdir()
        mounts = (Mount(tmp_path / "v", "/mnt/data"), Mount(tmp_path, "/mnt/data/inner"))
        words = "/mnt/data /mnt/data/x --a=/mnt/data/y '/mnt/data:/mnt/database' /x/mnt/data /mnt/data/inner/z"
        ran = run.sh(
            process, f"printf '%s\\n' {words} $WHERE", mounts=mounts, env={"PATH": "/bin", "WHERE": "/mnt/data/e"}
        )
        v = tmp_path / "v"
        assert ran.text.splitlines() == [
            f"{v}", f"{v}/x", f"--a={v}/y", f"{v}:/mnt/database", "/x/mnt/data", f"{tmp_path}/z", f"{v}/e",
        ]  # fmt: skip

    def test_a_working_directory_on_a_volume_is_the_volume(self, process: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "v/sub").mkdir(parents=True)
        ran = run(process, "pwd", cwd="/mnt/data/sub", mounts=(Mount(tmp_path / "v", "/mnt/data"),))
        assert ran.text == f"{tmp_path}/v/sub\n"

    def test_the_root_as_working_directory_is_an_empty_folder(self, process: Runtime, run: Any) -> None:
        assert run.sh(process, "ls -A; echo x >y; ls").text == "y\n"
