"""How an image came, told after real runs on a local Batch: on a worker and by a trigger alike."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
from odd_images import empty_tar, with_layer
from submitting import Told, submission

from airflow_batchstream.clients.google import CallFailed, GoogleClients, Page
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.images.reference import parse
from airflow_batchstream.core.jobs import identity, spec
from airflow_batchstream.core.jobs.handover import from_event
from airflow_batchstream.core.jobs.model import JobName, Owner, Sight, Spec, State, Trouble
from airflow_batchstream.core.jobs.named import Named
from airflow_batchstream.core.jobs.outcome import Outcome, closing_block, result
from airflow_batchstream.core.jobs.streamed import judge
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.emulator.images.build import ImageSpec, build
from airflow_batchstream.emulator.images.layout import Layout
from airflow_batchstream.emulator.images.push import push
from airflow_batchstream.emulator.testing import Local, running
from airflow_batchstream.operators.observe import _subject
from airflow_batchstream.services.hub import Hub, Subject
from airflow_batchstream.services.submit import submit
from airflow_batchstream.triggers import CloudBatchJobTrigger

IMAGE = "europe-docker.pkg.dev/test-project/repo/tool"
BIG, SMALL = 9_800_000_000, 4_000_000
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch with an image that streams, ``:1``, and one that does not, ``:empty``."""
    tool, odd = tmp_path_factory.mktemp("tool"), tmp_path_factory.mktemp("odd")
    build(ImageSpec(entrypoint=("sh", "-c"), cmd=("echo hello",)), tool, IMAGE)
    with running(tmp_path_factory.mktemp("streamed"), "--grace", "1") as one:
        push(Layout(tool), parse(f"{IMAGE}:1"), one.address)
        push(with_layer(tool, odd / "empty", empty_tar()), parse(f"{IMAGE}:empty"), one.address)
        yield one


def job(tag: str, *, commands: str = "echo hello", before: Any = None, after: Any = None, **task: Any) -> Spec:
    """
    :param before, after: a runnable, as a dict.
    """
    container = {"imageUri": f"{IMAGE}:{tag}", "commands": [commands]}
    runnables = [one for one in (before, {"container": container}, after) if one]
    return {"taskGroups": [{"taskSpec": {"runnables": runnables} | task}]}


def script(text: str, **more: Any) -> dict[str, Any]:
    return {"script": {"text": text}, **more}


@dataclass
class Case:
    """A job, and what its task knows of the image."""

    job: Spec
    subject: Subject
    get_logs: bool = True


def subject(tag: str, size: int = SMALL, verdict: str = "holds", *, streaming: bool = True) -> Subject:
    return Subject(f"{IMAGE}:{tag}", "", streaming, size, verdict)


CASES = {
    "small": Case(job("1"), subject("1")),
    "big": Case(job("1"), subject("1", BIG)),
    "big, prints nothing": Case(job("1", commands="true"), subject("1", BIG)),
    "big, a script prints first": Case(job("1", before=script("echo first")), subject("1", BIG)),
    "big, its log is not read": Case(job("1"), subject("1", BIG), get_logs=False),
    "not scanned": Case(job("1"), subject("1", 0, "")),
    "empty layer": Case(job("empty"), subject("empty", SMALL, "broken")),
    "empty layer, not scanned": Case(job("empty"), subject("empty", 0, "")),
    "docker's words among the lines": Case(
        job("1", commands=f"echo \"Unable to find image '{IMAGE}:1' locally\" >&2; sleep 0.1; echo hello"), subject("1")
    ),
    "not there": Case(job("none"), subject("none", 0, "")),
    "not there any more": Case(job("none"), subject("none", BIG)),
    "not there, and a script cleans up": Case(job("none", after=script("echo", alwaysRun=True)), subject("none", BIG)),
    "big, fails": Case(job("1", commands="echo hello; exit 3"), subject("1", BIG)),
    "plain": Case(job("1"), subject("1", BIG, streaming=False)),
}


async def on_a_worker(clients: GoogleClients, case: Case, watch: Watch) -> Outcome:
    return await Hub(clients).watch(watch, Told(), case.subject, asyncio.Event())


async def in_a_triggerer(clients: GoogleClients, case: Case, watch: Watch) -> Outcome:
    trigger = CloudBatchJobTrigger(watch.as_dict(), clients.endpoint.as_dict(), asdict(case.subject))
    [event] = [event.payload async for event in trigger.run()]
    return from_event(event["outcome"])


async def run(clients: GoogleClients, case: Case, way: Any = on_a_worker) -> Outcome:
    wanted = submission(Owner(f"streamed{next(_numbers)}", "r", "t", -1, 0, ""), case.job)
    filled = spec.fill(case.job, streaming=case.subject.streaming, labels=wanted.spec["labels"])
    sight = (await submit(clients, replace(wanted, spec=filled), Told().say)).sight
    watch = Watch(sight.name, sight.uid, sight.created, poll_seconds=0.3, get_logs=case.get_logs)
    return await way(clients, case, watch)  # type: ignore[no-any-return]


@pytest.fixture(scope="module", params=[on_a_worker, in_a_triggerer])
def ended(request: pytest.FixtureRequest, local: Local) -> dict[str, Outcome]:
    """What became of all cases, run at once."""

    async def all_of_them() -> list[Outcome]:
        async with GoogleClients(Endpoint.local(local.address)) as clients:
            return await asyncio.gather(*(run(clients, case, request.param) for case in CASES.values()))

    return dict(zip(CASES, asyncio.run(asyncio.wait_for(all_of_them(), 120)), strict=True))


def line(outcome: Outcome) -> str:
    """What the closing block says of streaming."""
    return "\n".join(line for line in closing_block(outcome) if line.startswith("Image streaming"))


class TestTheWordInXCom:
    @pytest.mark.parametrize(
        ("case", "word"),
        [
            ("small", "eligible"),
            ("big", "consistent"),
            ("big, prints nothing", "eligible"),
            ("big, a script prints first", "eligible"),
            ("big, its log is not read", "eligible"),
            ("not scanned", "requested"),
            ("empty layer", "full pull"),
            ("empty layer, not scanned", "full pull"),
            ("docker's words among the lines", "full pull"),
            ("not there", "requested"),
            ("not there any more", "eligible"),
            ("not there, and a script cleans up", "eligible"),
            ("big, fails", "eligible"),  # what it printed may as well be the runtime's
            ("plain", None),
        ],
    )
    def test_is_what_the_run_showed_and_no_more(self, ended, case, word):
        assert result(ended[case])["streamed"] == word


class TestTheClosingBlock:
    def test_names_the_evidence_for_streaming(self, ended):
        assert line(ended["big"]).startswith("Image streaming: consistent with streaming: the first line came ")
        assert line(ended["big"]).endswith(" s after RUNNING; downloading 9.8 GB takes about 8 min.")

    def test_names_the_evidence_against_it(self, ended):
        assert line(ended["empty layer"]) == (
            f"Image streaming: evidence of a full pull: a VM logged \"Unable to find image '{IMAGE}:empty' locally\"."
        )

    def test_says_why_a_small_image_cannot_tell(self, ended):
        assert "4.0 MB are downloaded in a moment" in line(ended["small"])

    def test_has_no_word_of_it_for_a_plain_job(self, ended):
        assert line(ended["plain"]) == ""


class Agents(GoogleClients):
    """Google's clients, which count the reads of agents' logs, and may fail them."""

    reads = 0
    fails: Exception | None = None
    hangs = 0.0

    async def list_entries(self, resource_names: Any, wanted: str, **more: Any) -> Page:
        if "batch_agent_logs" in wanted:
            self.reads += 1
            await asyncio.sleep(self.hangs)
            if self.fails:
                raise self.fails
        return await super().list_entries(resource_names, wanted, **more)


class TestTheReadOfTheAgentsLog:
    @pytest.mark.parametrize(("case", "reads"), [("small", 1), ("plain", 0), ("big, its log is not read", 0)])
    def test_is_one_where_streaming_was_asked_for_and_the_log_is_read(self, local, case, reads):
        async def work() -> int:
            async with Agents(Endpoint.local(local.address)) as clients:
                await run(clients, CASES[case])
                return clients.reads

        assert asyncio.run(work()) == reads

    def test_burns_no_quota_when_many_jobs_end_at_once(self, local):
        """One hub, and the reads that Google allows a project."""

        async def work() -> tuple[list[Outcome], int]:
            async with Agents(replace(Endpoint.local(local.address), log_reads_per_minute=300.0)) as clients:
                hub, case = Hub(clients), CASES["empty layer"]

                async def together(clients: GoogleClients, case: Case, watch: Watch) -> Outcome:
                    return await hub.watch(watch, Told(), case.subject, asyncio.Event())

                return await asyncio.gather(*(run(clients, case, together) for _ in range(25))), clients.reads

        outcomes, reads = asyncio.run(asyncio.wait_for(work(), 120))
        assert {str(outcome.state) for outcome in outcomes} == {"SUCCEEDED"}
        words = [outcome.streamed for outcome in outcomes]
        assert 1 <= reads <= 20  # a dozen: what the lines leave over
        assert words.count("full pull") == reads
        assert words.count("unknown") == 25 - reads  # what the scan said, and no more

    @pytest.mark.parametrize(
        "trouble",
        [
            CallFailed(Trouble("PERMISSION_DENIED", "no")),
            CallFailed(Trouble("RESOURCE_EXHAUSTED", "no")),
            StopAsyncIteration(),
            None,
        ],
        ids=["denied", "no quota", "another", "hangs"],
    )
    def test_that_fails_or_takes_long_fails_no_task_and_delays_none(self, local, trouble):
        async def work() -> tuple[Outcome, float]:
            async with Agents(Endpoint.local(local.address)) as clients:
                clients.fails = trouble
                clients.hangs = 0.0 if trouble else 60.0
                began = time.monotonic()
                ended = await run(clients, CASES["small"])
                assert clients.reads == 1
                return ended, time.monotonic() - began

        ended, took = asyncio.run(work())
        assert (result(ended)["state"], result(ended)["streamed"]) == ("SUCCEEDED", "eligible")
        assert took < 30


class TestWhatASensorKnows:
    SCANNED = identity.Scanned("sha256:" + "ab" * 32, "holds", BIG)

    @pytest.fixture
    def sight(self) -> Sight:
        """A job that a scan was made for."""
        filled = spec.fill(job("1"), streaming=True, labels=identity.scan_labels(self.SCANNED))
        return Sight(JobName("p", "r", "j"), "u", State.RUNNING, 0.0, labels=filled["labels"], spec=filled)

    @pytest.mark.parametrize("xcom", [{}, {"image": f"{IMAGE}:1", "streaming": True}, {"digest": "sha256:"}])
    def test_is_all_that_the_scan_left_on_the_job(self, sight: Sight, xcom: dict[str, Any]) -> None:
        known = _subject(Named(sight.name, **xcom), sight)
        assert known == Subject(f"{IMAGE}:1", self.SCANNED.digest, True, BIG, "holds")
        assert judge(known.signs()).word == "eligible"

    def test_is_judged_by_the_time_as_the_submitter_judges_it(self, sight: Sight) -> None:
        known = _subject(Named(sight.name), sight)
        assert judge(replace(known.signs(), running_at=1.0, first_line_at=5.0)).word == "consistent"

    def test_without_labels_is_what_the_job_and_xcom_tell(self, sight: Sight) -> None:
        known = _subject(Named(sight.name, image=f"{IMAGE}:1", digest="d", streaming=True), replace(sight, labels={}))
        assert known == Subject(f"{IMAGE}:1", "d", True)
        pinned = spec.with_images(sight.spec, {f"{IMAGE}:1": f"{IMAGE}@sha256:1"})
        known = _subject(Named(sight.name), replace(sight, labels={}, spec=pinned))
        assert known == Subject(f"{IMAGE}@sha256:1", "sha256:1", True)
