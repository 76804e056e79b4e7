"""A local Batch for tests, in a child process: ``with running(tmp_path) as local: local.address``.

It takes a free port, waits until it serves, and is stopped by its process id. For tests of Dags as well as for our own.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_batchstream.emulator.config import environment, tls_environment

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(slots=True)
class Local:
    """A local Batch that serves.

    :param address: ``HOST:PORT``.
    :param log: the file with what it wrote to stderr.
    :ivar environment: variables that send this library and ``gcloud`` there.
    :ivar tls_environment: those that send there what was written for Google alone, such as the Google provider.
    """

    address: str
    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path
    environment: Mapping[str, str] = field(init=False)
    tls_environment: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.environment = environment(self.address)
        self.tls_environment = tls_environment(self.address, self.state_dir)

    def inject(self, *faults: Mapping[str, Any]) -> list[int]:
        """Let faults happen from now on; their numbers."""
        answer = self._http("POST", "/emulator/faults", json.dumps([dict(f) for f in faults]).encode())
        return [int(number) for number in answer["ids"]]

    def faults(self) -> list[dict[str, Any]]:
        """All faults, with how often each was ``met`` and ``happened``."""
        return list(self._http("GET", "/emulator/faults")["faults"])

    def heal(self) -> None:
        """No faults any more."""
        self._http("DELETE", "/emulator/faults")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _http(self, verb: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{self.address}{path}", data=body, method=verb)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextlib.contextmanager
def running(state_dir: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Local]:
    """Start a local Batch, and stop it at the end.

    :param state_dir: its state; used before, it goes on where it was.
    :param arguments: of ``batchstream emulator``; ``--port 0`` is given.
    """
    local = start(state_dir, arguments, env)
    try:
        yield local
    finally:
        local.stop()


def start(state_dir: Path, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Local:
    """Start a local Batch; the caller stops it."""
    state_dir.mkdir(parents=True, exist_ok=True)
    log = state_dir / "stderr.log"
    options = ["--port", "0", "--state-dir", str(state_dir), *arguments]
    command = [sys.executable, "-m", "airflow_batchstream", "emulator", *options]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, env=dict(env or os.environ)
        )
    address = _ready(process)
    if not address:
        process.kill()
        process.wait()
        raise RuntimeError(f"The local Batch did not start:\n{log.read_text()}")
    return Local(address, process, state_dir, log)


def _ready(process: subprocess.Popen[bytes]) -> str:
    """The address from the line ``ready HOST:PORT``, or empty if the process ended or took too long."""
    assert process.stdout is not None
    deadline, seen = time.monotonic() + START_SECONDS, b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and selector.select(deadline - time.monotonic()):
            piece = os.read(process.stdout.fileno(), 4096)
            if not piece:
                break
            seen += piece
            for line in seen.split(b"\n")[:-1]:
                if line.startswith(b"ready "):
                    return line.removeprefix(b"ready ").decode().strip()
    return ""
