"""200 deferred waits in one process: the stock trigger and ours, one after the other, against one local Batch.

    .venv/bin/python benchmarks/waits.py [--jobs 200] [--seconds 180]

Each side runs in a process of its own, polls every ten seconds, and does all as with Google: Google's clients, TLS, the
connection's credentials. The stock trigger is the Google provider's, unmodified; it shows no logs. Ours runs twice:
without logs, and with them (ten seconds between two reads, 50 reads a minute), every line shown, one of the jobs
printing 40,000 a minute. Calls are counted by the server. What is compared is a ratio within one run.

What was imported before is frozen: a full garbage collection over all of Airflow stops a loop for 0.1 to 0.4 s,
whosever trigger runs in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

PARENT = "projects/my-project/locations/us-central1"
CHATTY = "i=0; while :; do n=0; while [ $n -lt 67 ]; do echo $i; i=$((i+1)); n=$((n+1)); done; sleep 0.1; done"
SIDES = ("stock", "ours", "ours-with-logs")
POLL = 10.0
FIRST_SECONDS = 10.0
COUNTED = ("GetJob", "ListLogEntries")
UNCOUNTABLE = 10**9


@dataclass
class Figures:
    """What a run cost; times in seconds."""

    calls: int = 0
    reads: int = 0
    cpu: float = 0.0
    megabytes: float = 0.0
    noticed: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    loop_lags: list[float] = field(default_factory=list)
    first_lags: list[float] = field(default_factory=list)
    lines: int = 0
    doubled: int = 0
    lost: int = 0
    chatty: int = 0


class Log:
    """What a trigger logs: a container's lines are kept, and when the end was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.end = 0.0

    def log(self, level: int, text: str, **fields: Any) -> None:
        """A record with fields, as structlog takes it."""
        if str(fields.get("logger", "")).startswith("batch.group"):
            self.texts.append(text)
        elif " to SUCCEEDED" in text or " to FAILED" in text:
            self.end = self.end or time.time()

    def _other(self, *words: object, **fields: Any) -> None:
        """Nothing to count."""

    debug = info = warning = exception = error = _other


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which that share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def clients(address: str) -> Any:
    """Our clients, for what belongs to neither side."""
    from airflow_batchstream.clients.google import GoogleClients
    from airflow_batchstream.core.endpoint import Endpoint

    return GoogleClients(Endpoint.local(address))


async def create(address: str, prefix: str, jobs: int, seconds: float) -> list[Any]:
    """Jobs that end one after the other in the second half of the time; the first prints 40,000 lines a minute."""

    async def one(batch: Any, n: int) -> Any:
        length = seconds / 2 + seconds / 2 * n / jobs
        quiet = f"echo begin; sleep {length:.1f}; echo end"
        text = quiet if n else f"timeout {seconds:.0f} sh -c '{CHATTY}'; :"
        spec = {
            "taskGroups": [{"taskSpec": {"runnables": [{"script": {"text": text}}]}}],
            "logsPolicy": {"destination": "CLOUD_LOGGING"},
        }
        return await batch.create_job(PARENT, f"{prefix}-{n}", spec, "")

    async with clients(address) as batch:
        return [await one(batch, n) for n in range(jobs)]


async def ends(address: str, sights: list[Any]) -> list[float]:
    """When each job ended, as its events tell."""
    async with clients(address) as batch:
        return [(await batch.get_job(sight.name)).events[-1].at for sight in sights]


async def loop_lag(figures: Figures) -> None:
    """How late the loop is, which a trigger's neighbours feel. The first seconds, with imports, apart."""
    steady = time.perf_counter() + FIRST_SECONDS
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        lags = figures.loop_lags if began > steady else figures.first_lags
        lags.append(time.perf_counter() - began - 0.01)


async def peak(found: list[float]) -> None:
    """The memory of the process, the most of it."""
    process = psutil.Process()
    while True:
        found.append(process.memory_info().rss / 2**20)
        await asyncio.sleep(0.5)


async def measured(figures: Figures, waits: list[Awaitable[None]]) -> None:
    """All waits at once, and what they cost."""
    memory: list[float] = []
    gc.collect()
    gc.freeze()
    beside = [asyncio.create_task(loop_lag(figures)), asyncio.create_task(peak(memory))]
    cpu = time.process_time()
    await asyncio.gather(*waits)
    figures.cpu = time.process_time() - cpu
    for task in beside:
        task.cancel()
    figures.megabytes = max(memory) - memory[0]


def stock_trigger(sight: Any) -> Any:
    """The Google provider's."""
    from airflow.providers.google.cloud.triggers.cloud_batch import CloudBatchJobFinishedTrigger

    return CloudBatchJobFinishedTrigger(str(sight.name), "my-project", "us-central1", polling_period_seconds=POLL)


def our_trigger(sight: Any, *, get_logs: bool) -> Any:
    """Ours."""
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.core.jobs.watch import Watch
    from airflow_batchstream.triggers import CloudBatchJobTrigger

    watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=POLL, get_logs=get_logs)
    return CloudBatchJobTrigger(watch.as_dict(), Endpoint().as_dict())


def made(side: str, sight: Any) -> Any:
    """The side's trigger for a job."""
    if side == "stock":
        return stock_trigger(sight)
    return our_trigger(sight, get_logs=side == "ours-with-logs")


async def run_side(side: str, address: str, jobs: int, seconds: float) -> Figures:
    """Create the jobs, and wait for all of them."""
    sights = await create(address, side, jobs, seconds)
    made(side, sights[0])  # imports what it takes
    figures, logs, fired = Figures(), [Log() for _ in sights], [0.0] * jobs

    async def one(n: int) -> None:
        trigger = made(side, sights[n])
        trigger._log = logs[n]
        async for _ in trigger.run():
            fired[n] = time.time()

    await measured(figures, [one(n) for n in range(jobs)])
    ended = await ends(address, sights)
    figures.resumed = [at - end for at, end in zip(fired, ended, strict=True)]
    told = fired if side == "stock" else [log.end for log in logs]
    figures.noticed = [at - end for at, end in zip(told, ended, strict=True)]
    if side == "ours-with-logs":
        count_lines(figures, [log.texts for log in logs])
    return figures


def count_lines(figures: Figures, shown: list[list[str]]) -> None:
    """Each line once: the chatty job counts up, the others say two words."""
    for n, texts in enumerate(shown):
        whole = ["begin", "end"] if n else [str(i) for i in range(len(texts))]
        figures.lines += len(texts)
        figures.doubled += len(texts) - len(set(texts))
        figures.lost += len(set(whole) - set(texts))
    figures.chatty = len(shown[0])


def run_in_a_process(local: Any, side: str, chosen: argparse.Namespace) -> Figures:
    """One side alone in a process, its calls counted by the server."""
    numbers = local.inject(*({"method": m, "delay": 0.001, "skip": UNCOUNTABLE} for m in COUNTED))
    command = [sys.executable, __file__, "--side", side, "--address", local.address]
    command += ["--jobs", str(chosen.jobs), "--seconds", str(chosen.seconds)]
    out = subprocess.run(
        command, env=os.environ | dict(local.tls_environment), stdout=subprocess.PIPE, check=True
    ).stdout
    figures = Figures(**json.loads(out.splitlines()[-1]))
    met = {fault["id"]: fault["met"] for fault in local.faults()}
    figures.calls, figures.reads = (met[number] for number in numbers)
    figures.calls -= chosen.jobs  # when did it end? asked once for each
    local.heal()
    return figures


def table(jobs: int, found: dict[str, Figures]) -> list[str]:
    """One row a figure; the ratio is ours without logs to the stock trigger."""

    def row(title: str, value: Callable[[Figures], float], digits: int = 0) -> str:
        values = [value(found[side]) for side in SIDES]
        ratio = f"{values[1] / values[0]:.2f}" if values[0] else ""
        return f"| {title} | " + " | ".join(f"{v:.{digits}f}" for v in values) + f" | {ratio} |"

    return [
        f"| {jobs} waits in one process | stock trigger | ours, `get_logs=False` | ours, with logs | ratio |",
        "|---|---:|---:|---:|---:|",
        row("looks at jobs", lambda f: f.calls),
        row("reads of logs", lambda f: f.reads),
        row("lines shown", lambda f: f.lines),
        row("lines doubled or lost", lambda f: f.doubled + f.lost),
        row("CPU, seconds", lambda f: f.cpu, 1),
        row("memory, MB more", lambda f: f.megabytes),
        row("end noticed after, seconds (median)", lambda f: percentile(f.noticed, 0.5), 1),
        row("end noticed after, seconds (99th percentile)", lambda f: percentile(f.noticed, 0.99), 1),
        row("task resumed after, seconds (median)", lambda f: percentile(f.resumed, 0.5), 1),
        row("loop lag, ms (99th percentile)", lambda f: 1000 * percentile(f.loop_lags, 0.99), 1),
        row("loop lag, ms (largest)", lambda f: 1000 * max(f.loop_lags), 1),
        row(f"loop lag in the first {FIRST_SECONDS:.0f} s, ms (largest)", lambda f: 1000 * max(f.first_lags), 1),
    ]


def main() -> None:
    """Both sides, or one of them for the parent process."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--jobs", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=180.0)
    arguments.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments.add_argument("--address", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.side:
        print(json.dumps(asdict(asyncio.run(run_side(chosen.side, chosen.address, chosen.jobs, chosen.seconds)))))
        return
    from airflow_batchstream.emulator.testing import running

    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "--slots", "1000") as local:
        found = {side: run_in_a_process(local, side, chosen) for side in SIDES}
    print("\n".join(table(chosen.jobs, found)))
    print(f"\nThe chatty job printed {found['ours-with-logs'].chatty} lines, all shown.")


if __name__ == "__main__":
    main()
