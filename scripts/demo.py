"""``make demo``: the local Batch, a small image of ours, and example 1 in a real Airflow, in the foreground.

Three processes: this one, which tells what happens; the local Batch; and Airflow, which runs the example Dag by
``dag.test()`` in one process (``scripts/demo_airflow.py``). Airflow starts while the image is made. All that is written
goes to ``.work/demo`` (or the folder named as the argument), which is made anew each time. At the end, and on Ctrl-C,
the two others are ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any

TOP = Path(__file__).resolve().parent.parent
WORK = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else TOP / ".work" / "demo"
PROJECT, REGION = "my-project", "us-central1"
IMAGE = f"us-docker.pkg.dev/{PROJECT}/examples/hello:1.0"
RECORD = re.compile(r"(?P<at>\S+) (?P<level>[A-Z]+) (?P<logger>\S*)\|(?P<text>.*)")
INTERRUPTED = 130


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def say(text: str = "") -> None:
    """A line of the demo's own."""
    print(text, flush=True)


def shown(path: Path) -> str:
    """A path as short as it can be said."""
    return str(path.relative_to(TOP)) if path.is_relative_to(TOP) else str(path)


def die_with_parent() -> None:
    """In a child: be killed when this process is gone, however it went."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def start(command: list[str], log: Path, **env: str) -> subprocess.Popen[str]:
    """A child with pipes in and out, in a session of its own, so that it can be ended with all of its descendants."""
    with log.open("w") as errors:
        return subprocess.Popen(
            command,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


def end(process: subprocess.Popen[str]) -> None:
    """Tell it to stop; then make sure that nothing of it is left."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def expect(process: subprocess.Popen[str], word: str, what: str, log: Path) -> str:
    """The rest of the line that starts with this word.

    :raises DemoError: the process ended before it said it.
    """
    for line in lines_of(process):
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise DemoError(f"{what} did not start. It printed (all of it in {shown(log)}):\n{tail(log)}")


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    """What it prints, line by line, as it comes."""
    pipe: IO[str] | None = process.stdout
    assert pipe is not None
    for line in pipe:
        yield line.rstrip("\n")


def tail(log: Path, lines: int = 15) -> str:
    """The end of a file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def push_image(address: str) -> str:
    """Make a small image from the host's own programs and push it to the local Batch, by the command line.

    :return: its name with the digest.
    """
    command = [str(Path(sys.executable).parent / "batchstream"), "image", "build", "--tag", IMAGE, "--push"]
    env = os.environ | {"BATCH_EMULATOR_HOST": address}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"batchstream image build failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


class Screen:
    """Airflow's log on the terminal: when, who, what. All of it goes to a file; a group is folded into one line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._folded = False

    def show(self, line: str) -> None:
        """One line of the log. A container's lines carry their task's tag, stderr and warnings a mark."""
        with self._file.open("a") as file:
            file.write(f"{line}\n")
        found = RECORD.fullmatch(line)
        if not found:
            say(f"             {line}")
            return
        at, level, logger = found["at"][11:19], found["level"], found["logger"]
        text = re.sub(r" chan=\S+$", "", found["text"])
        if text.startswith("::group::"):
            self._folded = True
            say(f"  {at}   {text.removeprefix('::group::')} (folded; all of it in {shown(self._file)})")
        elif text.startswith("::endgroup::"):
            self._folded = False
        elif not self._folded:
            mark = " " if level in ("INFO", "DEBUG") else "!"
            who = f"{logger.removeprefix('batch.')} | " if logger.startswith("batch.") else ""
            say(f"  {at} {mark} {who}{text}".rstrip())


def tell_runtime(address: str, log: Path) -> None:
    """How containers run here; where nothing isolates them, the local Batch's own words about it."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/emulator") as answer:
        about = json.load(answer)
    say(f"The local Batch serves on {address}; it runs containers by the runtime {about['runtime']!r}.")
    if not about["isolated"]:
        say("\n".join(f"  {line}" for line in log.read_text().splitlines()))


def seconds_between(job: dict[str, Any], first: str, last: str) -> str:
    """Of two of the job's times."""
    if not job.get(first) or not job.get(last):
        return "-"
    return f"{(datetime.fromisoformat(job[last]) - datetime.fromisoformat(job[first])).total_seconds():.1f} s"


def summary(result: dict[str, Any], image_seconds: float, began: float) -> None:
    """The end: digest, job, state, times."""
    job = result.get("job") or {}
    rows = {
        "image": IMAGE,
        "digest": job.get("digest", "-"),
        "job": job.get("name", "-"),
        "state": f"{job.get('state', '-')} (Airflow's run: {result['state']})",
        "times": f"job created to running {seconds_between(job, 'created', 'started')}, "
        f"running to its end {seconds_between(job, 'started', 'ended')}; image {image_seconds:.1f} s, "
        f"both Airflow tasks {result['run_seconds']:.1f} s, all of it {time.monotonic() - began:.1f} s",
    }
    say()
    for name, value in rows.items():
        say(f"{name:>8}  {value}")


def run(children: list[subprocess.Popen[str]]) -> int:
    """The demo from start to end; what it starts is noted in ``children``."""
    began = time.monotonic()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)

    airflow_log, batch_log = WORK / "airflow.err", WORK / "local-batch.err"
    state = str(WORK / "local-batch")
    emulator = [sys.executable, "-m", "airflow_batchstream", "emulator", "--port", "0", "--state-dir", state]
    batch = start(emulator, batch_log)
    children.append(batch)
    airflow = start([sys.executable, str(TOP / "scripts" / "demo_airflow.py"), str(WORK / "airflow")], airflow_log)
    children.append(airflow)

    address = expect(batch, "ready ", "The local Batch", batch_log)
    tell_runtime(address, batch_log)
    image_began = time.monotonic()
    pinned = push_image(address)
    image_seconds = time.monotonic() - image_began
    say(f"A small image is in its registry: {IMAGE}, {pinned.partition('@')[2][:19]}...")

    expect(airflow, "ready", "Airflow", airflow_log)
    say("Airflow runs dags/example_1_json_job.py: scan the image, then run the job\n")
    assert airflow.stdin is not None
    go = {"BATCH_EMULATOR_HOST": address, "BATCHSTREAM_IMAGE": IMAGE, "BATCHSTREAM_PROJECT": PROJECT}
    airflow.stdin.write(json.dumps(go | {"BATCHSTREAM_REGION": REGION}) + "\n")
    airflow.stdin.flush()
    result: dict[str, Any] = {}
    screen = Screen(WORK / "airflow.log")
    for line in lines_of(airflow):
        if line.startswith("result "):
            result = json.loads(line.removeprefix("result "))
        else:
            screen.show(line)
    airflow.wait()
    if not result:
        raise DemoError(f"Airflow ended early (all of it in {shown(airflow_log)}):\n{tail(airflow_log)}")
    summary(result, image_seconds, began)
    return 0 if result["state"] == "success" else 1


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """TERM ends the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; whatever happens, leave nothing running."""
    signal.signal(signal.SIGTERM, interrupt)
    children: list[subprocess.Popen[str]] = []
    try:
        return run(children)
    except DemoError as failed:
        print(f"\ndemo: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\ndemo: stopped; nothing is left running")
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for child in reversed(children):
            end(child)


if __name__ == "__main__":
    sys.exit(main())
