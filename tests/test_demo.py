"""``make demo``, without the setting up: what it shows, and that it leaves nothing running however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

DEMO = Path(__file__).parent.parent / "scripts" / "demo.py"


class Demo:
    """A demo that runs, with a mark in the environment of every process that it starts."""

    def __init__(self, work: Path) -> None:
        self.mark = f"BATCHSTREAM_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, DEMO, work],
            env=os.environ | {name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # What a shell starts with & ignores it, and so would all that is started here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.lines: list[tuple[float, str]] = []

    def read(self, until: str = "") -> str:
        """Its lines up to one that holds this text, or to its end; each with the time at which it came."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))
            if until and until in line:
                break
        return "\n".join(line for _, line in self.lines)

    def came(self, text: str) -> float:
        """When the first line with this text came."""
        return next(at for at, line in self.lines if text in line)

    def left(self) -> list[str]:
        """The processes that it started and that are still there."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = self.mark.encode() in (folder / "environ").read_bytes()
                if marked and int(folder.name) != self.process.pid:
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path / "demo")
    yield running
    if running.process.poll() is None:
        os.killpg(running.process.pid, signal.SIGKILL)
    running.process.wait()


class TestDemo:
    def test_it_shows_the_lines_as_they_come_and_ends_with_a_summary(self, demo: Demo) -> None:
        shown = demo.read()
        assert demo.process.wait(20) == 0, shown
        for n in range(2):
            assert f"group0.{n} | hello from task {n} of 2" in shown
            assert f"! group0.{n} | a word on stderr" in shown
        assert demo.came("step 3 of 3") - demo.came("step 1 of 3") > 1
        (digest,) = re.findall(r"^ +digest +(\S+)$", shown, re.MULTILINE)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
        assert re.search(r"^ +job +projects/my-project/locations/us-central1/jobs/\S+$", shown, re.MULTILINE)
        assert re.search(r"^ +state +SUCCEEDED", shown, re.MULTILINE)
        assert re.search(r"^ +times +job created to running \d", shown, re.MULTILINE)
        assert demo.left() == []

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_stopped_while_the_job_runs_it_leaves_nothing_running(self, demo: Demo, number: int) -> None:
        demo.read(until="step 1 of 3")
        assert demo.left() != []
        demo.process.send_signal(number)
        shown = demo.read()
        assert demo.process.wait(20) == 130, shown
        assert "nothing is left running" in shown
        assert "Traceback" not in shown
        assert demo.left() == []

    def test_killed_it_takes_its_children_along(self, demo: Demo) -> None:
        demo.read(until="step 1 of 3")
        demo.process.kill()
        demo.process.wait()
        deadline = time.monotonic() + 15
        while demo.left() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert demo.left() == []
