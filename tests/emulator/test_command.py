"""The command line: ``--exec``, ``env``, a port that is taken, signals, and what is left afterwards."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from airflow_batchstream.emulator.testing import Local, running

COMMAND = [sys.executable, "-m", "airflow_batchstream", "emulator"]


def emulator(tmp_path: Path, *arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--port", "0", "--state-dir", str(tmp_path / "state"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)  # type: ignore[call-overload,no-any-return]


class TestExec:
    def test_runs_a_command_with_the_addresses_in_its_environment(self, tmp_path: Path) -> None:
        done = emulator(tmp_path, "--exec", "echo at $BATCH_EMULATOR_HOST; echo $CLOUDSDK_API_ENDPOINT_OVERRIDES_BATCH")
        ready, at, url = done.stdout.splitlines()
        address = ready.removeprefix("ready ")
        assert (at, url) == (f"at {address}", f"http://{address}/")
        assert done.returncode == 0
        assert not answers(address)

    @pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
    def test_returns_the_command_s_exit_code(self, tmp_path: Path, command: str, code: int) -> None:
        assert emulator(tmp_path, "--exec", command).returncode == code

    def test_ends_what_the_command_left_behind(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        emulator(tmp_path, "--exec", f"sleep 600 >/dev/null 2>&1 & echo $! > {pid}")
        assert not lives(int(pid.read_text()))

    def test_a_signal_stops_both(self, tmp_path: Path) -> None:
        command = [*COMMAND, "--port", "0", "--state-dir", str(tmp_path / "state"), "--exec", "sleep 600; sleep 600"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 143


class TestStarting:
    def test_a_port_that_is_taken_gets_a_sentence(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            done = emulator(tmp_path, "--port", port)
        assert done.returncode == 1
        assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr
        assert "--port 0" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_state_directory_belongs_to_one_server(self, tmp_path: Path) -> None:
        with running(tmp_path / "state"):
            done = emulator(tmp_path)
        assert done.returncode == 1
        assert "Another local Batch uses the state" in done.stderr
        assert "Traceback" not in done.stderr

    def test_an_unknown_runtime_gets_a_sentence(self, tmp_path: Path) -> None:
        done = emulator(tmp_path, "--runtime", "hypervisor")
        assert done.returncode == 1
        assert "there is no runtime 'hypervisor'" in done.stderr
        assert "Traceback" not in done.stderr

    def test_beyond_loopback_it_warns(self, tmp_path: Path) -> None:
        done = emulator(tmp_path, "--host", "0.0.0.0", "--exec", "true")
        assert "WARNING: 0.0.0.0 is not loopback" in done.stderr

    def test_on_loopback_it_listens_nowhere_else(self, emulator: Local) -> None:
        port = f"{int(emulator.address.rpartition(':')[2]):04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = [address for _, address, _, state, *_ in rows if state == "0A" and address.endswith(f":{port}")]
        assert listening == [f"0100007F:{port}"]

    def test_it_tells_which_runtime_it_uses(self, emulator: Local) -> None:
        assert "runtime" in emulator.log.read_text() or "WARNING: containers run" in emulator.log.read_text()


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_is_clean_and_quick(self, tmp_path: Path, number: int) -> None:
        with running(tmp_path / "state") as local:
            started = time.monotonic()
            assert local.stop(number) == 0
            assert time.monotonic() - started < 5
            assert "Traceback" not in local.log.read_text()


class TestEnv:
    def test_prints_what_a_shell_reads(self) -> None:
        done = subprocess.run([*COMMAND, "env", "--port", "1234"], capture_output=True, text=True, timeout=60)
        assert "export BATCH_EMULATOR_HOST=127.0.0.1:1234\n" in done.stdout
        shell = subprocess.run(
            ["/bin/sh", "-c", f"{done.stdout}\necho $CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING"],
            capture_output=True, text=True, timeout=10,
        )  # fmt: skip
        assert shell.stdout == "http://127.0.0.1:1234/\n"


class TestAWebPage:
    """A page in the browser of whoever runs the local Batch must not run programs on their machine."""

    def ask(self, emulator: Local, **headers: str) -> int:
        request = urllib.request.Request(f"http://{emulator.address}/emulator", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def test_of_another_site_is_not_answered(self, emulator: Local) -> None:
        assert self.ask(emulator) == 200
        assert self.ask(emulator, Origin="https://evil.example") == 403

    def test_behind_a_name_that_was_made_to_point_here_is_not_answered(self, emulator: Local) -> None:
        port = emulator.address.rpartition(":")[2]
        assert self.ask(emulator, Host=f"evil.example:{port}") == 403
        assert self.ask(emulator, Host=f"localhost:{port}") == 200


def lives(pid: int) -> bool:
    """Whether a process is there, and no zombie that nobody collects."""
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 1):
            return True
    except OSError:
        return False
