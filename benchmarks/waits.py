"""200 deferred waits in one process: the stock trigger and ours, one after the other, against one local Batch.

    .venv/bin/python benchmarks/waits.py [--jobs 200] [--seconds 60]

Both poll every ten seconds. The stock trigger is the Google provider's own, unmodified but for its client, which is
pointed at the local Batch; it shows no logs. Ours reads logs by Google's figures (ten seconds between two reads, 50
reads a minute) and shows every line, one of the jobs printing 40,000 a minute. What is compared is a ratio within one
run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", "google-cloud-platform://")  # the stock hook wants one

PARENT = "projects/my-project/locations/us-central1"
CHATTY = "i=0; while :; do n=0; while [ $n -lt 67 ]; do echo $i; i=$((i+1)); n=$((n+1)); done; sleep 0.1; done"


@dataclass
class Figures:
    """What a run cost."""

    waits: int = 0
    calls: int = 0
    reads: int = 0
    cpu: float = 0.0
    megabytes: float = 0.0
    lags: list[float] = field(default_factory=list)
    fired: list[float] = field(default_factory=list)
    loop_lags: list[float] = field(default_factory=list)
    lines: int = 0
    doubled: int = 0
    lost: int = 0
    chatty_lines: int = 0


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def loop_lag(found: list[float]) -> None:
    """How late the loop is: what a trigger's neighbours feel."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        found.append(time.perf_counter() - began - 0.01)


async def create(address: str, prefix: str, jobs: int, seconds: float) -> list[Any]:
    """Jobs that end one after the other in the second half of the time; the first prints 40,000 lines a minute."""
    from airflow_batchstream.clients.google import CallFailed, GoogleClients
    from airflow_batchstream.core.endpoint import Endpoint

    async with GoogleClients(Endpoint.local(address)) as clients:

        async def one(n: int) -> Any:
            length = seconds / 2 + seconds / 2 * n / jobs
            text = (
                f"timeout {seconds:.0f} sh -c '{CHATTY}'; :" if n == 0 else f"echo begin; sleep {length:.1f}; echo end"
            )
            runnable = {"script": {"text": text}}
            spec = {
                "taskGroups": [{"taskSpec": {"runnables": [runnable]}}],
                "logsPolicy": {"destination": "CLOUD_LOGGING"},
            }
            while True:
                try:
                    return await clients.create_job(PARENT, f"{prefix}-{n}", spec, "")
                except CallFailed as e:
                    if not e.trouble.transient:
                        raise
                    await asyncio.sleep(0.2)

        return [await one(n) for n in range(jobs)]


async def ends(address: str, sights: list[Any]) -> dict[str, float]:
    """When each job ended, as its events tell."""
    from airflow_batchstream.clients.google import GoogleClients
    from airflow_batchstream.core.endpoint import Endpoint

    async with GoogleClients(Endpoint.local(address)) as clients:
        return {str(s.name): (await clients.get_job(s.name)).events[-1].at for s in sights}


async def measured(figures: Figures, waits: list[Awaitable[None]]) -> None:
    lag = asyncio.create_task(loop_lag(figures.loop_lags))
    before, cpu = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    await asyncio.gather(*waits)
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures.cpu = time.process_time() - cpu
    figures.megabytes = (after.ru_maxrss - before.ru_maxrss) / 1024
    figures.waits = len(waits)
    lag.cancel()


async def stock(address: str, sights: list[Any]) -> Figures:
    """The Google provider's trigger."""
    import grpc.aio
    from airflow.providers.google.cloud.hooks.cloud_batch import CloudBatchAsyncHook
    from airflow.providers.google.cloud.triggers.cloud_batch import CloudBatchJobFinishedTrigger
    from google.cloud.batch_v1 import BatchServiceAsyncClient
    from google.cloud.batch_v1.services.batch_service.transports import BatchServiceGrpcAsyncIOTransport

    figures, fired = Figures(), {}

    class Hook(CloudBatchAsyncHook):  # type: ignore[misc]
        def get_conn(self) -> Any:
            if self._client is None:
                transport = BatchServiceGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(address))
                self._client = BatchServiceAsyncClient(transport=transport)
            return self._client

        async def get_batch_job(self, job_name: str) -> Any:
            figures.calls += 1
            return await super().get_batch_job(job_name)

    async def one(sight: Any) -> None:
        trigger = CloudBatchJobFinishedTrigger(str(sight.name), "my-project", "us-central1", polling_period_seconds=10)
        trigger._get_async_hook = lambda: Hook()
        async for _ in trigger.run():
            fired[str(sight.name)] = time.time()

    await measured(figures, [one(s) for s in sights])
    ended = await ends(address, sights)
    figures.lags = figures.fired = [fired[name] - at for name, at in ended.items()]
    return figures


async def ours(address: str, sights: list[Any]) -> Figures:
    """Our trigger, with logs."""
    from airflow_batchstream.clients.google import GoogleClients
    from airflow_batchstream.core.endpoint import Endpoint
    from airflow_batchstream.core.jobs.watch import Watch
    from airflow_batchstream.triggers import CloudBatchJobTrigger

    figures, fired, noticed = Figures(), {}, {}
    counted: dict[str, int] = {"get_job": 0, "list_entries": 0}

    def counting(name: str) -> Callable[..., Any]:
        original = getattr(GoogleClients, name)

        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return await original(self, *args, **kwargs)

        return call

    for name in counted:
        setattr(GoogleClients, name, counting(name))

    class Log:
        """What a trigger logs: lines are counted, the end is noticed."""

        def __init__(self, name: str) -> None:
            self.name, self.texts = name, []

        def log(self, level: int, text: str, **fields: Any) -> None:
            if str(fields.get("logger", "")).startswith("batch.group"):
                self.texts.append(text)
            elif " to SUCCEEDED" in text or "to FAILED" in text:
                noticed.setdefault(self.name, time.time())

        info = warning = exception = error = lambda self, *a, **k: None

    logs = {}

    async def one(sight: Any) -> None:
        watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=10)
        trigger = CloudBatchJobTrigger(watch.as_dict(), Endpoint(emulator=address).as_dict())
        trigger._log = logs[str(sight.name)] = Log(str(sight.name))
        async for _ in trigger.run():
            fired[str(sight.name)] = time.time()

    await measured(figures, [one(s) for s in sights])
    ended = await ends(address, sights)
    figures.calls, figures.reads = counted["get_job"], counted["list_entries"]
    figures.lags = [noticed[name] - at for name, at in ended.items() if name in noticed]
    figures.fired = [fired[name] - at for name, at in ended.items()]
    for n, sight in enumerate(sights):
        texts = logs[str(sight.name)].texts
        whole = [str(i) for i in range(len(texts))] if n == 0 else ["begin", "end"]
        figures.lines += len(texts)
        figures.doubled += len(texts) - len(set(texts))
        figures.lost += len(set(whole) - set(texts))
    figures.chatty_lines = len(logs[str(sights[0].name)].texts)
    return figures


def table(jobs: int, peer: Figures, own: Figures) -> list[str]:
    def both(title: str, value: Callable[[Figures], float], form: str = "{:.0f}") -> str:
        a, b = value(peer), value(own)
        ratio = f"{b / a:.2f}" if a else ""
        return f"| {title} | {form.format(a)} | {form.format(b)} | {ratio} |"

    return [
        f"| {jobs} waits in one process | stock trigger | CloudBatchJobTrigger | ratio |",
        "|---|---:|---:|---:|",
        both("calls to Batch", lambda f: f.calls),
        both("reads of logs", lambda f: f.reads),
        both("lines shown", lambda f: f.lines),
        both("lines doubled", lambda f: f.doubled),
        both("lines lost", lambda f: f.lost),
        both("CPU, seconds", lambda f: f.cpu, "{:.1f}"),
        both("memory, MB more", lambda f: f.megabytes, "{:.0f}"),
        both("end noticed after, seconds (median)", lambda f: percentile(f.lags, 0.5), "{:.1f}"),
        both("end noticed after, seconds (99th percentile)", lambda f: percentile(f.lags, 0.99), "{:.1f}"),
        both("task resumed after, seconds (median)", lambda f: percentile(f.fired, 0.5), "{:.1f}"),
        both("loop lag, ms (99th percentile)", lambda f: 1000 * percentile(f.loop_lags, 0.99), "{:.1f}"),
        both("loop lag, ms (largest)", lambda f: 1000 * max(f.loop_lags), "{:.1f}"),
    ]


def main() -> None:
    from airflow_batchstream.emulator.testing import running

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--jobs", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--json", action="store_true", help="all figures, too")
    chosen = arguments.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), "--slots", "1000") as local:
        for name, run in (("stock", stock), ("ours", ours)):
            sights = asyncio.run(create(local.address, name, chosen.jobs, chosen.seconds))
            found[name] = asyncio.run(run(local.address, sights))
    print("\n".join(table(chosen.jobs, found["stock"], found["ours"])))
    print(f"\nThe chatty job printed {found['ours'].chatty_lines} lines that were shown.")
    if chosen.json:
        print({name: {k: v for k, v in asdict(f).items() if not isinstance(v, list)} for name, f in found.items()})


if __name__ == "__main__":
    main()
