"""``make ui``: a small Airflow with its UI on loopback, the local Batch, a small image and the example Dags.

It starts one run of example 1 and prints the address of its task log, then waits for Ctrl-C, which leaves nothing
running. The Airflow is the one of the tests (``tests/support/live_airflow.py``): an API server, a scheduler, a Dag
processor and a triggerer, some nine processes, on free ports. All that is written goes to ``.work/ui``, which is made
anew each time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "support"))

from airflow_api import AirflowApi, Run  # noqa: E402
from hello_image import push_hello  # noqa: E402
from live_airflow import LiveAirflow  # noqa: E402

from airflow_batchstream.emulator.testing import running  # noqa: E402

WORK = TOP / ".work" / "ui"
DAGS = TOP / "dags"
IMAGE = "us-docker.pkg.dev/my-project/examples/hello:1.0"
FIRST = "example_1_json_job"
LOOK_SECONDS = 2.0
START_SECONDS = 240.0
INTERRUPTED = 130


class UiError(Exception):
    """It cannot start or go on; the message says why and what to do."""


@dataclass(frozen=True)
class Playground:
    """What runs: Airflow, and the local Batch that its Dags use."""

    airflow: LiveAirflow
    api: AirflowApi
    batch: str

    def task_log(self, run: Run, task_id: str) -> str:
        """The address of a task's log in the UI."""
        return f"{self.airflow.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/{task_id}?try_number=1"


@contextlib.contextmanager
def playground(work: Path, dags: Path = DAGS) -> Iterator[Playground]:
    """Airflow and the local Batch, ready; ended with all of their children at the end.

    :param work: a folder for all that they write, made anew.
    :param dags: a folder of Dag files, each named as its Dag.
    :raises UiError: another one uses the folder, or something did not start.
    """
    work.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context((work.parent / f"{work.name}.lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UiError(f"another one is running in {work}; end it first") from None
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            batch = undo.enter_context(running(work / "local-batch", "--grace", "2"))
            push_hello(batch.address, IMAGE)
            settings = {"BATCH_EMULATOR_HOST": batch.address, "BATCHSTREAM_IMAGE": IMAGE}
            airflow = LiveAirflow(work / "airflow", dags, settings, triggerer=True)
            undo.callback(airflow.stop)
            api = airflow.start([path.stem for path in dags.glob("*.py")], within=START_SECONDS)
        except RuntimeError as error:
            raise UiError(str(error)) from error
        yield Playground(airflow, api, batch.address)


def runtime(address: str) -> str:
    """How the local Batch runs containers here."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/emulator") as answer:
        about = json.load(answer)
    return f"{about['runtime']!r}" + ("" if about["isolated"] else ", which does not isolate them")


def serve() -> int:
    """Start, tell where, and stay until somebody ends it or a process dies."""
    began = time.monotonic()
    print("Starting Airflow and the local Batch: 20 seconds, more on a busy machine", flush=True)
    with playground(WORK) as ground:
        print(f"Airflow   {ground.airflow.url}  (no password; on this machine only)")
        print(f"Batch     {ground.batch}, local, with the runtime {runtime(ground.batch)}")
        print(f"State     {WORK.relative_to(TOP)}; ready after {time.monotonic() - began:.0f} s")
        run = ground.api.trigger(FIRST)
        print(f"\nA run of {FIRST} has begun; this is its task log:\n  {ground.task_log(run, 'job')}")
        print("\nCtrl-C ends it all.", flush=True)
        while True:
            for name, process in ground.airflow.processes.items():
                if process.poll() is not None:
                    raise UiError(f"airflow {name} ended with {process.returncode}\n{ground.airflow.printed()}")
            time.sleep(LOOK_SECONDS)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """TERM ends it as Ctrl-C does; while it ends, more of them change nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """Serve; whatever happens, leave nothing running."""
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        return serve()
    except UiError as failed:
        print(f"\nui: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nui: stopped; nothing is left running")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
