"""What an isolating runtime keeps beyond that: the image's files, user and network, and nothing of this machine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.images.tree import File, Folder, Link, Tree
from airflow_batchstream.emulator.runtimes.base import Mount, Rootfs, Runtime


@pytest.fixture(params=["layers", "copy"])
def either(request: pytest.FixtureRequest, image: Rootfs) -> Rootfs:
    """The image as shared layers, and as one that has to be copied."""
    return image if request.param == "layers" else dataclasses.replace(image, overlay=False)


class TestFiles:
    def test_this_machines_files_are_not_seen(self, isolating: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("x")
        assert run.sh(isolating, f"cat {tmp_path}/secret").code != 0
        assert set(run(isolating, "ls", "/").text.split()) <= {
            "app", "away", "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "opt", "proc", "root",
            "sbin", "sys", "tmp", "usr",
        }  # fmt: skip

    def test_layers_lie_over_each_other(self, isolating: Runtime, run: Any, either: Rootfs) -> None:
        ran = run.sh(isolating, "cd /opt; ls -A; ls -A old; cat stays old/new", rootfs=either)
        assert ran.text == "old\nstays\nnew\nstaysnew"

    def test_everything_may_be_written_and_nothing_stays(self, isolating: Runtime, run: Any, either: Rootfs) -> None:
        script = "rm -r /opt/old && echo 1 >/app/data.txt && echo 2 >/usr/new && mkdir /a /a/b && cat /app/data.txt"
        assert run.sh(isolating, script, rootfs=either).text == "1\n"
        assert run.sh(isolating, "cat /app/data.txt; ls /usr/new /a; ls /opt/old", rootfs=either).out == (
            b"from the image\nnew\n"
        )

    def test_folders_that_forbid_everything_are_tidied_up_too(
        self, isolating: Runtime, run: Any, either: Rootfs
    ) -> None:
        script = "mkdir -p /app/x/y && echo 1 >/app/x/y/z && chmod 0 /app/x/y/z /app/x/y /app/x /app/data.txt"
        assert run.sh(isolating, script, rootfs=either).code == 0

    def test_there_is_a_tmp_for_everybody(self, isolating: Runtime, run: Any) -> None:
        assert run.sh(isolating, "stat -c %a /tmp; echo 1 >/tmp/x && cat /tmp/x", user="1000").text == "1777\n1\n"

    def test_a_missing_working_directory_is_made(self, isolating: Runtime, run: Any) -> None:
        assert run(isolating, "pwd", cwd="/not/there").text == "/not/there\n"

    def test_a_script_without_its_interpreter_is_127(self, isolating: Runtime, run: Any) -> None:
        ran = run(isolating, "/app/lost")
        assert ran.code == 127
        assert ran.err.startswith(b"batchstream: cannot run")

    def test_an_image_of_one_static_file_runs_with_nothing_else(
        self, isolating: Runtime, run: Any, make_image: Callable[..., Rootfs], static_program: bytes
    ) -> None:
        rootfs = make_image({"hello": File(static_program, 0o755)})
        ran = run(isolating, "/hello", rootfs=rootfs)
        assert (ran.code, ran.out, ran.err) == (42, b"", b"")


class TestVolumes:
    def test_a_read_only_volume_cannot_be_written_to(self, isolating: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "f").write_text("1\n")
        script = "cat /mnt/f; echo 2 >/mnt/f || echo refused; rm /mnt/f || echo refused"
        ran = run.sh(isolating, script, mounts=(Mount(tmp_path / "a", "/mnt", read_only=True),))
        assert ran.text == "1\nrefused\nrefused\n"
        assert (tmp_path / "a" / "f").read_text() == "1\n"

    def test_a_volume_inside_a_volume(self, isolating: Runtime, run: Any, tmp_path: Path) -> None:
        for name in ("a/inner", "b"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "b" / "f").write_text("inner\n")
        mounts = (Mount(tmp_path / "a", "/mnt"), Mount(tmp_path / "b", "/mnt/inner", read_only=True))
        assert run.sh(isolating, "echo 1 >/mnt/x; cat /mnt/inner/f", mounts=mounts).text == "inner\n"
        assert (tmp_path / "a" / "x").exists()

    def test_a_volume_behind_a_link_of_the_image_stays_inside(
        self, isolating: Runtime, run: Any, tmp_path: Path
    ) -> None:
        """``/away`` is a link to ``/etc``: of the image, not of this machine."""
        (tmp_path / "v").mkdir()
        (tmp_path / "v" / "f").write_text("volume\n")
        mounts = (Mount(tmp_path / "v", "/away/volume"),)
        assert run.sh(isolating, "cat /etc/volume/f", mounts=mounts).text == "volume\n"
        assert not Path("/etc/volume").exists()

    def test_a_relative_source_that_is_a_link_is_followed_on_this_machine(
        self, isolating: Runtime, run: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "f").write_text("1\n")
        (tmp_path / "link").symlink_to("real")
        assert run.sh(isolating, "cat /mnt/f", mounts=(Mount(tmp_path / "link", "/mnt"),)).text == "1\n"


class TestUsers:
    @pytest.mark.parametrize(
        ("user", "expected"),
        [
            ("", "0 0"),
            ("0", "0 0"),
            ("root", "0 0"),
            ("1000", "1000 1000"),
            ("batch", "1000 1000"),
            ("1000:0", "1000 0"),
            ("4711:815", "4711 815"),
            ("4711", "4711 0"),
            ("batch:nogroup", "1000 65534"),
        ],
    )
    def test_the_user_is_the_images(self, isolating: Runtime, run: Any, user: str, expected: str) -> None:
        assert run.sh(isolating, "echo $(id -u) $(id -g)", user=user).text == f"{expected}\n"

    @pytest.mark.parametrize("user", ["nobody-here", "batch:nobody-here"])
    def test_an_unknown_name_is_125_and_named(self, isolating: Runtime, run: Any, user: str) -> None:
        ran = run.sh(isolating, "id", user=user)
        assert ran.code == 125
        assert b"'nobody-here'" in ran.err

    def test_home_is_the_users(self, isolating: Runtime, run: Any) -> None:
        assert run.sh(isolating, "echo $HOME", user="batch").text == "/home/batch\n"

    def test_stdout_can_be_opened_by_name(self, isolating: Runtime, run: Any) -> None:
        ran = run.sh(isolating, "echo 1 >/dev/stdout; echo 2 >/dev/stderr", user="1000")
        assert (ran.code, ran.out, ran.err) == (0, b"1\n", b"2\n")

    @pytest.mark.skipif(os.geteuid() != 0, reason="owners are kept as root only")
    def test_as_root_files_belong_to_whom_the_image_says(self, run: Any, namespace: Runtime) -> None:
        ran = run.sh(namespace, "rm /app/data.txt && echo removed; echo 1 >/tmp/x; stat -c %u /tmp/x", user="1000")
        assert ran.text == "1000\n"

    def test_no_rights_of_this_machines_root(self, isolating: Runtime, run: Any) -> None:
        ran = run.sh(isolating, "grep -E '^(NoNewPrivs|CapEff)' /proc/self/status")
        values = dict(line.split(":\t") for line in ran.text.splitlines())
        assert values["NoNewPrivs"] == "1"
        sys_admin, mknod, sys_module = 1 << 21, 1 << 27, 1 << 16
        assert not int(values["CapEff"], 16) & (sys_admin | mknod | sys_module)

    def test_the_kernels_settings_cannot_be_written(self, isolating: Runtime, run: Any) -> None:
        same = Path("/proc/sys/vm/swappiness").read_text().strip()
        ran = run.sh(isolating, f"echo {same} >/proc/sys/vm/swappiness")
        assert ran.code != 0


class TestProcesses:
    def test_only_its_own_are_seen(self, isolating: Runtime, run: Any) -> None:
        pids = [int(word) for word in run(isolating, "ls", "/proc").text.split() if word.isdigit()]
        assert max(pids) < 10

    def test_orphans_are_collected(self, isolating: Runtime, run: Any) -> None:
        script = (
            "i=0; while [ $i -lt 20 ]; do (true &); i=$((i+1)); done; sleep 0.3; grep -c ^State:.Z /proc/[0-9]*/status"
        )
        assert not [line for line in run.sh(isolating, script).text.splitlines() if not line.endswith(":0")]

    def test_this_machine_cannot_be_signalled(self, isolating: Runtime, run: Any) -> None:
        assert run.sh(isolating, f"kill -0 {os.getpid()}").code != 0


class TestNetwork:
    def test_it_has_this_machines_network(self, isolating: Runtime, run: Any) -> None:
        here = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]}
        there = {line.split(":")[0].strip() for line in run(isolating, "cat", "/proc/net/dev").text.splitlines()[2:]}
        assert there == here

    def test_without_one_it_has_its_own_loopback(self, isolating: Runtime, run: Any) -> None:
        ran = run.sh(isolating, "cat /proc/net/dev; cat /proc/net/fib_trie", network=False)
        devices = {line.split(":")[0].strip() for line in ran.text.splitlines() if ":" in line and "|" not in line}
        assert "lo" in devices
        assert not devices & {"eth0", "ens3", "ens4", "enp0s3", "wlan0"}
        assert "127.0.0.1" in ran.text  # it is up

    def test_names_are_looked_up_as_here(self, isolating: Runtime, run: Any) -> None:
        ran = run.sh(isolating, "hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf", hostname="batch-1")
        assert ran.text.startswith("batch-1\nbatch-1\n")
        assert "127.0.1.1 batch-1" in ran.text
        if Path("/etc/resolv.conf").exists():
            assert Path("/etc/resolv.conf").read_text() in ran.text


class TestDevices:
    def test_there_are_the_usual_ones_alone(self, isolating: Runtime, run: Any) -> None:
        ran = run.sh(
            isolating, "ls /dev; head -c 3 /dev/zero | wc -c; echo x >/dev/null; echo 1 >/dev/shm/x && cat /dev/shm/x"
        )
        names = set(ran.text.split())
        assert {"null", "zero", "random", "urandom", "fd", "stdin", "stdout", "stderr", "shm", "3", "1"} <= names
        assert not names & {"sda", "vda", "mem", "kmsg", "kvm"}


class TestNastyImages:
    @pytest.mark.parametrize("name", ["dev", "proc", "sys", "tmp", "etc"])
    def test_a_link_in_the_place_of_a_mount_leads_nowhere_outside(
        self,
        run: Any,
        make_image: Callable[..., Rootfs],
        namespace: Runtime,
        name: str,
        tmp_path: Path,
        machine_tree: Tree,
    ) -> None:
        (tmp_path / "outside").mkdir()
        tree = {path: entry for path, entry in machine_tree.items() if path.split("/")[0] != name}
        rootfs = make_image(tree | {name: Link(str(tmp_path / "outside"))})
        run.sh(namespace, "true", rootfs=rootfs)
        assert list((tmp_path / "outside").iterdir()) == []

    def test_a_file_in_the_place_of_a_mount_is_125(
        self, run: Any, make_image: Callable[..., Rootfs], isolating: Runtime, machine_tree: Tree
    ) -> None:
        ran = run.sh(isolating, "true", rootfs=make_image(machine_tree | {"proc": File(b"")}))
        assert ran.code == 125
        assert b"/proc" in ran.err

    def test_many_layers(
        self, run: Any, make_image: Callable[..., Rootfs], isolating: Runtime, machine_tree: Tree
    ) -> None:
        layers: list[Tree] = [{f"many/{i}": File(str(i).encode()), "last": File(str(i).encode())} for i in range(126)]
        ran = run.sh(isolating, "ls /many | wc -l; cat /last", rootfs=make_image(machine_tree, *layers))
        assert ran.text.split() == ["126", "125"]

    def test_an_image_without_anything_to_run_says_so(
        self, run: Any, make_image: Callable[..., Rootfs], isolating: Runtime
    ) -> None:
        ran = run.sh(isolating, "true", rootfs=make_image({"data": Folder()}))
        assert ran.code == 127
        assert b"cannot run 'sh'" in ran.err
