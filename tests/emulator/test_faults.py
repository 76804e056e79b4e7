"""Misbehaviour on demand: what a client sees of each fault, and what became of the call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as gax

from airflow_batchstream.emulator.faults import Fault, FaultError, Faults
from airflow_batchstream.emulator.testing import Local, running

Make = Callable[..., dict[str, Any]]
PARENT = "projects/test-project/locations/europe-west4"


@pytest.fixture(scope="module")
def sick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local Batch of its own: faults must not meet other tests."""
    with running(tmp_path_factory.mktemp("sick"), "--grace", "1") as local:
        yield local


@pytest.fixture(autouse=True)
def healed(sick: Local) -> Iterator[None]:
    yield
    sick.heal()


@pytest.fixture(params=["grpc", "grpc_asyncio", "rest"])
def any_client(request: pytest.FixtureRequest, sick: Local, connect: Callable[..., Any]) -> Any:
    return connect(sick, request.param)


@pytest.fixture
def one(sick: Local, connect: Callable[..., Any]) -> Any:
    return connect(sick)


def create(client: Any, job: Any, job_id: str) -> Any:
    return client.create_job(request={"parent": PARENT, "job": job, "job_id": job_id})


class TestACall:
    def test_refused_before_its_effect_has_none(self, any_client: Any, sick: Local, script: Make) -> None:
        job_id = f"before-{any_client.transport.replace('_', '-')}"
        sick.inject({"method": "CreateJob", "job": "before-*", "status": "RESOURCE_EXHAUSTED", "message": "no quota"})
        with pytest.raises(gax.TooManyRequests, match="no quota"):
            create(any_client, script("true"), job_id)
        sick.heal()
        with pytest.raises(gax.NotFound):
            any_client.get_job(name=f"{PARENT}/jobs/{job_id}")

    def test_refused_after_its_effect_has_it(self, any_client: Any, sick: Local, script: Make) -> None:
        job_id = f"after-{any_client.transport.replace('_', '-')}"
        sick.inject({"method": "CreateJob", "job": "after-*", "status": "INTERNAL", "when": "after"})
        with pytest.raises(gax.InternalServerError):
            create(any_client, script("true"), job_id)
        assert any_client.get_job(name=f"{PARENT}/jobs/{job_id}").uid

    def test_whose_answer_is_lost_has_its_effect_too(self, any_client: Any, sick: Local, script: Make) -> None:
        job_id = f"lost-{any_client.transport.replace('_', '-')}"
        sick.inject({"method": "CreateJob", "job": "lost-*", "lost": True})
        with pytest.raises((gax.ServiceUnavailable, ConnectionError, OSError)):
            create(any_client, script("true"), job_id)
        assert any_client.get_job(name=f"{PARENT}/jobs/{job_id}").uid

    def test_can_be_slow(self, one: Any, sick: Local) -> None:
        sick.inject({"method": "ListJobs", "delay": 0.4})
        started = time.monotonic()
        one.listed("list_jobs", parent=PARENT)
        assert time.monotonic() - started >= 0.4

    def test_happens_so_often_after_so_many(self, one: Any, sick: Local) -> None:
        sick.inject({"method": "GetJob", "status": "ABORTED", "skip": 1, "times": 2})
        seen = []
        for _ in range(5):
            with pytest.raises((gax.NotFound, gax.Aborted)) as error:
                one.get_job(name=f"{PARENT}/jobs/x")
            seen.append(error.type.__name__)
        assert seen == ["NotFound", "Aborted", "Aborted", "NotFound", "NotFound"]
        assert (sick.faults()[0]["met"], sick.faults()[0]["happened"]) == (5, 2)

    def test_of_other_jobs_is_spared(self, one: Any, sick: Local) -> None:
        sick.inject({"method": "*", "job": "mine-*", "status": "INTERNAL"})
        with pytest.raises(gax.NotFound):
            one.get_job(name=f"{PARENT}/jobs/yours-1")
        with pytest.raises(gax.InternalServerError):
            one.cancel_job(name=f"{PARENT}/jobs/mine-1")


class TestAJob:
    def test_can_end_before_any_task_ran(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "doomed-*", "refuse": "Batch Error: code - CODE_GCE_QUOTA_EXCEEDED, description - no CPUs"})
        job = one.run(script("true"), "doomed-1")
        assert job.status.state.name == "FAILED"
        said = [e.description for e in job.status.status_events]
        assert "CODE_GCE_QUOTA_EXCEEDED" in said[0]
        assert said[-1].startswith("Job state is set from QUEUED to FAILED")
        assert one.tasks(job) == []

    def test_can_fail_after_it_was_scheduled(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "unlucky-*", "refuse": "no VM has agent reporting", "refuse_in": "SCHEDULED"})
        job = one.run(script("true"), "unlucky-1")
        assert "from SCHEDULED to SCHEDULED_PENDING_FAILED" in job.status.status_events[-2].description

    def test_can_stay_in_a_state_and_say_why(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "stuck-*", "stay": "SCHEDULED", "seconds": 0.5, "says": "Quota checking process: CPUS"})
        started = time.monotonic()
        create(one, script("true"), "stuck-1")
        waiting = one.until(f"{PARENT}/jobs/stuck-1", {"SCHEDULED"})
        job = one.until(waiting.name, {"SUCCEEDED"})
        assert time.monotonic() - started >= 0.5
        assert [e.description for e in job.status.status_events if e.type_ == "OPERATIONAL_INFO"] == [
            "Quota checking process: CPUS"
        ]

    def test_can_stay_running_though_its_tasks_have_ended(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "lame-*", "stay": "RUNNING", "seconds": 0.6})
        started = time.monotonic()
        assert one.run(script("true"), "lame-1").status.state.name == "SUCCEEDED"
        assert time.monotonic() - started >= 0.6

    def test_can_be_slow_to_be_cancelled(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "slow-*", "stay": "CANCELLATION_IN_PROGRESS", "seconds": 0.5})
        job = create(one, script("sleep 60"), "slow-1")
        one.until(job.name, {"RUNNING"})
        started = time.monotonic()
        one.cancel_job(name=job.name)
        one.until(job.name, {"CANCELLED"})
        assert time.monotonic() - started >= 0.5

    def test_can_lose_the_vm_of_a_task(self, one: Any, sick: Local, script: Make) -> None:
        sick.inject({"job": "spot-*", "exit_code": 50001, "delay": 0.2, "times": 1})
        job = one.run(script("test $BATCH_TASK_RETRY_ATTEMPT = 1 || sleep 60", max_retry_count=1), "spot-1")
        assert job.status.state.name == "SUCCEEDED"
        said = [e.description for e in one.tasks(job)[0].status.status_events]
        assert any(s.endswith("due to Spot VM preemption with exit code 50001.") for s in said)


class TestLogs:
    def test_entries_can_be_received_late(
        self, one: Any, sick: Local, script: Make, logs_of: Callable[[Local], Any]
    ) -> None:
        sick.inject({"job": "late-*", "late": 1.5})
        job = one.run(script("seq 1 50"), "late-1")
        logs = logs_of(sick)
        assert len(logs.lines(job)) < 50
        time.sleep(1.6)
        assert logs.lines(job) == [str(i) for i in range(1, 51)]
        entries = logs.entries(f'labels.job_uid="{job.uid}"')
        received = [e.receive_timestamp for e in entries]
        assert received != sorted(received)
        assert all(e.receive_timestamp >= e.timestamp for e in entries)

    def test_entries_can_be_found_late(
        self, one: Any, sick: Local, script: Make, logs_of: Callable[[Local], Any]
    ) -> None:
        sick.inject({"job": "hidden-*", "hidden": 1.5})
        job = one.run(script("seq 1 50"), "hidden-1")
        logs = logs_of(sick)
        assert len(logs.lines(job)) < 50
        time.sleep(1.6)
        entries = logs.entries(f'log_id("batch_task_logs") labels.job_uid="{job.uid}"')
        assert len(entries) == 50
        assert all(e.receive_timestamp == e.timestamp for e in entries)

    def test_reads_can_have_a_quota(self, sick: Local, logs_of: Callable[[Local], Any]) -> None:
        logs = logs_of(sick)
        sick.inject({"reads_per_minute": 3})
        for _ in range(3):
            logs.page("severity>=ERROR")
        with pytest.raises(gax.ResourceExhausted, match="Read requests per minute"):
            logs.page("severity>=ERROR")


class TestAFaultsFile:
    def test_is_read_at_the_start(self, tmp_path: Path, connect: Callable[..., Any]) -> None:
        file = tmp_path / "faults.yaml"
        file.write_text("seed: 7\nfaults:\n- {method: GetJob, status: UNAUTHENTICATED}\n")
        with running(tmp_path / "state", "--faults", str(file)) as local, pytest.raises(gax.Unauthenticated):
            connect(local).get_job(name=f"{PARENT}/jobs/x")

    def test_that_makes_no_sense_stops_the_start(self, tmp_path: Path) -> None:
        file = tmp_path / "faults.yaml"
        file.write_text("- {method: GetJob}\n")
        with (
            pytest.raises(RuntimeError, match="needs status, lost or delay"),
            running(tmp_path / "s", "--faults", str(file)),
        ):
            pass


class TestAFaultThatMakesNoSense:
    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("text", "is an object"),
            ({"metod": "GetJob"}, "no key 'metod'"),
            ({"method": "GetJob"}, "needs status, lost or delay"),
            ({"method": "GetJob", "refuse": "x"}, "does not go with"),
            ({}, "needs method"),
            ({"method": "GetJob", "status": "SAD"}, "is none of"),
            ({"method": "GetJob", "status": "INTERNAL", "when": "later"}, "before or after"),
            ({"method": "GetJob", "delay": "1"}, "is not of type float"),
            ({"method": "GetJob", "delay": True}, "is not of type float"),
            ({"stay": "BUSY"}, "write one of"),
            ({"refuse": "x", "refuse_in": "RUNNING"}, "write QUEUED or SCHEDULED"),
        ],
    )
    def test_is_refused_with_the_reason(self, fault: Any, words: str) -> None:
        with pytest.raises(FaultError, match=words):
            Fault.read(fault)


class TestChance:
    def happened(self, seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(Fault.read({"refuse": "x", "chance": 0.5}))
        return [bool(faults.refusal("projects/p/locations/l/jobs/j", "QUEUED")) for _ in range(64)]

    def test_is_the_same_for_the_same_seed(self) -> None:
        assert self.happened(1) == self.happened(1)
        assert self.happened(1) != self.happened(2)
        assert 15 < sum(self.happened(1)) < 49
