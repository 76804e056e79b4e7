"""What every runtime keeps, isolated or not: exit codes, output, signals, and that nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_batchstream.emulator.runtimes.base import Container, Mount, Rootfs, Running, Runtime


class TestExitCodes:
    @pytest.mark.parametrize("code", [0, 1, 3, 125, 255])
    def test_the_code_is_the_commands_own(self, runtime: Runtime, run: Any, code: int) -> None:
        assert run.sh(runtime, f"exit {code}").code == code

    @pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "PIPE"])
    def test_a_signal_is_told_as_a_shell_tells_it(self, runtime: Runtime, run: Any, name: str) -> None:
        assert run.sh(runtime, f"ulimit -c 0; kill -{name} $$").code == 128 + signal.Signals[f"SIG{name}"]

    def test_a_command_that_is_not_found_is_127_and_named(self, runtime: Runtime, run: Any) -> None:
        ran = run(runtime, "no-such-command")
        assert (ran.code, ran.out) == (127, b"")
        assert ran.err.startswith(b"batchstream: cannot run 'no-such-command'")

    def test_a_path_that_leads_nowhere_is_127(self, runtime: Runtime, run: Any) -> None:
        assert run(runtime, "/no/such/command").code == 127

    @pytest.mark.parametrize("path", ["/etc/passwd", "/etc"])
    def test_what_cannot_be_executed_is_126(self, runtime: Runtime, run: Any, path: str) -> None:
        ran = run(runtime, path)
        assert ran.code == 126
        assert ran.err.startswith(b"batchstream: cannot run")

    def test_nothing_to_run_is_125(self, runtime: Runtime, run: Any) -> None:
        ran = run(runtime)
        assert ran.code == 125
        assert b"neither the image nor the job gives a command" in ran.err

    def test_a_volume_whose_source_is_missing_is_125(self, runtime: Runtime, run: Any, tmp_path: Path) -> None:
        ran = run.sh(runtime, "echo ran", mounts=(Mount(tmp_path / "missing", "/mnt/x"),))
        assert (ran.code, ran.out) == (125, b"")
        assert str(tmp_path / "missing").encode() in ran.err

    def test_a_failing_command_in_a_script_is_not_the_runtimes_failure(self, runtime: Runtime, run: Any) -> None:
        ran = run.sh(runtime, "no-such-command; echo $?")
        assert (ran.code, ran.text) == (0, "127\n")


class TestOutput:
    def test_stdout_and_stderr_are_apart_and_in_order(self, runtime: Runtime, run: Any) -> None:
        script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
        ran = run.sh(runtime, script)
        assert ran.text == "".join(f"out {i}\n" for i in range(500))
        assert ran.err.decode() == "".join(f"err {i}\n" for i in range(500))

    def test_bytes_come_as_they_are(self, runtime: Runtime, run: Any) -> None:
        assert run.sh(runtime, r"printf 'a\000\377b\r\nno end'").out == b"a\0\xffb\r\nno end"

    def test_a_lot_of_it_arrives_whole_in_small_pieces(self, runtime: Runtime, run: Any) -> None:
        ran = run.sh(runtime, "head -c 20000000 /dev/zero; echo last words >&2")
        assert len(ran.out) == 20_000_000
        assert max(map(len, ran.pieces)) <= 1 << 16
        assert ran.err == b"last words\n"

    def test_what_was_printed_just_before_a_kill_arrives(self, runtime: Runtime, run: Any) -> None:
        ran = run.sh(runtime, "seq 1 2000; kill -KILL $$")
        assert ran.text == "".join(f"{i}\n" for i in range(1, 2001))

    def test_a_child_that_holds_the_pipe_open_does_not_delay_the_end(
        self, runtime: Runtime, run: Any, marker: Any
    ) -> None:
        started = time.monotonic()
        ran = run.sh(runtime, f"sleep {marker.seconds} & echo done")
        assert (ran.code, ran.text) == (0, "done\n")
        assert time.monotonic() - started < 15

    def test_a_slow_taker_holds_the_container_back(self, runtime: Runtime, image: Rootfs, tmp_path: Path) -> None:
        """The container prints without end; what it has printed beyond what was taken is what pipes hold."""

        async def scene() -> None:
            taken = 0

            def slow(data: bytes) -> None:
                nonlocal taken
                taken += len(data)
                time.sleep(0.005)

            container = Container(["sh", "-c", "yes"], {"PATH": "/usr/bin:/bin"}, rootfs=image)
            running = await runtime.start(container, tmp_path, slow, lambda _: None)
            await asyncio.sleep(0.5)
            running.kill()
            before = taken
            assert await running.wait() == 137
            assert before > 0
            assert taken - before <= 2 << 20

        asyncio.run(scene())

    def test_a_taker_that_fails_is_told_at_the_end_and_blocks_nobody(
        self, runtime: Runtime, image: Rootfs, tmp_path: Path
    ) -> None:
        async def scene() -> None:
            def broken(_: bytes) -> None:
                raise RuntimeError("the disk is full")

            container = Container(["sh", "-c", "seq 1 200000"], {"PATH": "/usr/bin:/bin"}, rootfs=image)
            running = await runtime.start(container, tmp_path, broken, lambda _: None)
            with pytest.raises(RuntimeError, match="the disk is full"):
                await asyncio.wait_for(running.wait(), 30)

        asyncio.run(scene())

    def test_stdin_is_empty(self, runtime: Runtime, run: Any) -> None:
        ran = run.sh(runtime, "cat; echo end")
        assert (ran.code, ran.text) == (0, "end\n")


class TestEnding:
    def test_term_is_handled_by_the_command(self, runtime: Runtime, run: Any, until_printed: Any) -> None:
        async def control(running: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            running.terminate()

        script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
        ran = run.sh(runtime, script, control=control)
        assert (ran.code, ran.text) == (7, "ready\nbye\n")

    def test_term_goes_to_the_command_alone(self, runtime: Runtime, run: Any, until_printed: Any) -> None:
        async def control(running: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            running.terminate()

        script = """
            trap 'stopped=1' TERM
            sh -c 'trap "echo the child got it" TERM; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done' &
            child=$!
            wait $child; wait $child; echo stopped=$stopped
        """
        assert run.sh(runtime, script, control=control).text == "ready\nstopped=1\n"

    def test_term_ends_a_command_that_does_not_handle_it(self, runtime: Runtime, run: Any, until_printed: Any) -> None:
        async def control(running: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            running.terminate()

        assert run.sh(runtime, "echo ready; exec sleep 60", control=control).code == 143

    def test_kill_ends_what_ignores_term(self, runtime: Runtime, run: Any, until_printed: Any) -> None:
        async def control(running: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            running.terminate()
            await asyncio.sleep(0.2)
            running.kill()

        ran = run.sh(runtime, "trap '' TERM; echo ready; while :; do sleep 0.05; done", control=control)
        assert ran.code == 137

    @pytest.mark.parametrize("way", ["terminate", "kill"])
    def test_a_signal_right_after_the_start_is_not_lost(
        self, runtime: Runtime, run: Any, way: str, marker: Any
    ) -> None:
        async def control(running: Running, _: Any) -> None:
            getattr(running, way)()

        ran = run(runtime, "sleep", marker.seconds, control=control)
        assert ran.code == (137 if way == "kill" else 143)
        assert not marker.alive

    def test_kill_ends_children_that_made_sessions_of_their_own(
        self, runtime: Runtime, run: Any, marker: Any, until_printed: Any
    ) -> None:
        async def control(running: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            assert marker.alive
            running.kill()

        script = f"""
            setsid sleep {marker.seconds} &
            (setsid sh -c '(sleep {marker.seconds} &) ; sleep {marker.seconds}' &)
            sleep 0.3; echo ready; sleep 60
        """
        assert run.sh(runtime, script, control=control).code == 137
        assert not marker.alive

    def test_daemons_are_gone_when_the_command_has_ended(self, runtime: Runtime, run: Any, marker: Any) -> None:
        script = f"(setsid sh -c 'trap \"\" TERM HUP; sleep {marker.seconds}' >/dev/null 2>&1 &); sleep 0.2; exit 4"
        assert run.sh(runtime, script).code == 4
        assert not marker.alive

    def test_a_tree_that_forks_all_the_time_is_ended(self, runtime: Runtime, run: Any, marker: Any) -> None:
        script = f"(sh -c 'while :; do (sleep {marker.seconds} &) ; sleep 0.01; done' &); sleep 0.4; exit 5"
        assert run.sh(runtime, script).code == 5
        assert not marker.alive

    def test_signals_after_the_end_are_harmless(self, runtime: Runtime, image: Rootfs, tmp_path: Path) -> None:
        async def scene() -> None:
            container = Container(["sh", "-c", "exit 6"], {"PATH": "/usr/bin:/bin"}, rootfs=image)
            running = await runtime.start(container, tmp_path, lambda _: None, lambda _: None)
            assert await running.wait() == 6
            running.terminate()
            running.kill()
            assert await running.wait() == 6

        asyncio.run(scene())

    def test_to_cancel_the_wait_leaves_the_container_running(
        self, runtime: Runtime, run: Any, until_printed: Any
    ) -> None:
        async def control(running: Running, ran: Any) -> None:
            waiting = asyncio.create_task(running.wait())
            await until_printed(ran, "ready")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

        ran = run.sh(runtime, "echo ready; sleep 0.3; echo still here; exit 8", control=control)
        assert (ran.code, ran.text) == (8, "ready\nstill here\n")

    def test_many_at_once_keep_apart(self, runtime: Runtime, run: Any) -> None:
        async def scene() -> list[Any]:
            one = [run.run(runtime, "sh", "-c", f"echo {i}; exit {i}") for i in range(20)]
            return await asyncio.gather(*one)

        assert [(ran.code, ran.text) for ran in asyncio.run(scene())] == [(i, f"{i}\n") for i in range(20)]

    def test_nothing_of_this_process_is_used_up(self, runtime: Runtime, run: Any) -> None:
        async def scene() -> list[int]:
            counts = []
            for _ in range(3):
                await asyncio.gather(*(run.run(runtime, "sh", "-c", "kill -9 $$") for _ in range(5)))
                counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208  (a count)
            return counts

        first, _, last = asyncio.run(scene())
        assert last == first
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        assert [c for c in children if Path(f"/proc/{c}/stat").read_text().rpartition(")")[2].split()[0] == "Z"] == []


PARENT = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import conftest
    from airflow_batchstream.emulator.runtimes.base import Container, Rootfs

    async def main():
        runtime = conftest.RUNTIMES[{name!r}]()
        rootfs = Rootfs({layers!r}, Path({merged!r}))
        script = "setsid sleep {seconds} & (sleep {seconds} &) ; sleep {seconds} & echo ready; wait"
        container = Container(["sh", "-c", script], {{"PATH": "/usr/bin:/bin"}}, rootfs=rootfs)
        await runtime.start(container, Path({scratch!r}), lambda d: print(d.decode(), end="", flush=True), print)
        await asyncio.sleep(600)

    asyncio.run(main())
""")


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


class TestDeathOfTheParent:
    def test_a_container_does_not_outlive_the_process_that_started_it(
        self, runtime: Runtime, image: Rootfs, tmp_path: Path, marker: Any, request: pytest.FixtureRequest
    ) -> None:
        (tmp_path / "scratch").mkdir()
        program = PARENT.format(
            tests=str(Path(__file__).parent),
            name=request.node.callspec.params["runtime"],
            layers=tuple(image.layers),
            merged=str(image.merged),
            scratch=str(tmp_path / "scratch"),
            seconds=marker.seconds,
        ).replace("PosixPath", "Path")
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
            try:
                assert parent.stdout is not None
                assert parent.stdout.readline() == "ready\n"
                assert within(10, lambda: len(marker.alive) >= 3)
            finally:
                parent.kill()
        assert within(10, lambda: not marker.alive)


def all_command_lines() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes()
    return found


class TestSurroundings:
    def test_the_environment_is_the_containers_alone(self, runtime: Runtime, run: Any) -> None:
        os.environ["LEAK"] = "secret"
        try:
            ran = run(runtime, "env", env={"PATH": "/usr/bin:/bin", "A": "1 2", "B": "x=y\nz", "HOME": "/h"})
        finally:
            del os.environ["LEAK"]
        lines = ran.text.splitlines()
        assert {"A=1 2", "B=x=y", "z", "HOME=/h"} <= set(lines)
        assert {line.partition("=")[0] for line in lines} <= {"PATH", "A", "B", "z", "HOME", "PWD"}

    def test_values_are_in_no_command_line_of_this_machine(
        self, runtime: Runtime, run: Any, marker: Any, until_printed: Any
    ) -> None:
        async def control(_: Running, ran: Any) -> None:
            await until_printed(ran, "ready")
            assert f"secret{marker.seconds}".encode() not in await asyncio.to_thread(all_command_lines)

        env = {"PATH": "/usr/bin:/bin", "TOKEN": f"secret{marker.seconds}"}
        ran = run.sh(runtime, 'echo ready; sleep 0.5; echo "$TOKEN"', env=env, control=control)
        assert ran.text == f"ready\nsecret{marker.seconds}\n"

    def test_a_command_is_found_without_a_path(self, runtime: Runtime, run: Any) -> None:
        assert run(runtime, "sh", "-c", "echo found", env={}).text == "found\n"

    def test_the_working_directory_has_the_images_files(self, runtime: Runtime, run: Any) -> None:
        assert run.sh(runtime, "cat data.txt", cwd="/app").text == "from the image\n"

    def test_what_is_written_to_the_working_directory_does_not_reach_the_image(
        self, runtime: Runtime, run: Any
    ) -> None:
        assert run.sh(runtime, "echo more >>data.txt; wc -l <data.txt", cwd="/app").text.strip() == "2"
        assert run.sh(runtime, "wc -l <data.txt", cwd="/app").text.strip() == "1"

    def test_a_script_of_the_image_runs(self, runtime: Runtime, run: Any) -> None:
        ran = run(runtime, "/app/tool", "x", cwd="/app")
        assert (ran.code, ran.text.split()[:2]) == (0, ["tool", "x"])

    def test_a_volume_is_read_and_written(self, runtime: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "a.txt").write_text("from outside\n")
        mounts = (Mount(tmp_path / "in", "/mnt/disks/in"),)
        ran = run.sh(runtime, "cat /mnt/disks/in/a.txt; echo back >/mnt/disks/in/b.txt", mounts=mounts)
        assert (ran.code, ran.text) == (0, "from outside\n")
        assert (tmp_path / "in" / "b.txt").read_text() == "back\n"

    def test_a_volume_may_be_one_file(self, runtime: Runtime, run: Any, tmp_path: Path) -> None:
        (tmp_path / "hosts").write_text("10.0.0.1 other\n")
        mounts = (Mount(tmp_path / "hosts", "/etc/cloudbatch-taskgroup-hosts", read_only=True),)
        assert run.sh(runtime, "cat /etc/cloudbatch-taskgroup-hosts", mounts=mounts).text == "10.0.0.1 other\n"

    def test_folders_may_be_given_relative_to_where_the_local_batch_runs(
        self, runtime: Runtime, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "v").mkdir()
        (tmp_path / "v/f").write_text("volume\n")
        here = run.image
        relative = dataclasses.replace(
            here,
            layers=tuple(Path(os.path.relpath(layer, tmp_path)) for layer in here.layers),
            merged=Path(os.path.relpath(here.merged, tmp_path)),
        )
        run.folder = Path("scratch")
        ran = run.sh(runtime, "cat data.txt /mnt/f", rootfs=relative, cwd="/app", mounts=(Mount(Path("v"), "/mnt"),))
        assert (ran.code, ran.text) == (0, "from the image\nvolume\n")

    def test_a_zero_byte_in_the_environment_is_refused(self, runtime: Runtime, run: Any) -> None:
        ran = run.sh(runtime, "echo ran", env={"PATH": "/bin", "A": "x\0--bind"})
        assert ran.code in (125, 126)
        assert ran.err.startswith(b"batchstream: ")

    def test_a_script_runnable_runs_on_the_machine(self, runtime: Runtime, run: Any, tmp_path: Path) -> None:
        ran = run.sh(runtime, "pwd; exit 9", rootfs=None, cwd=str(tmp_path))
        assert (ran.code, ran.text) == (9, f"{tmp_path}\n")
