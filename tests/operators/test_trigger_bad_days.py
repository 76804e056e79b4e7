"""Bad days of a deferred wait: what goes wrong between a triggerer and Batch, and what the user reads of it.

Real triggers in this process against a local Batch. Odd lines and a lost triggerer: tests/airflow/test_bad_days.py.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from deferred import Wait, again, at_once, deferred, in_loop, one_instant, until_line
from submitting import until_state
from token_server import TokenServer

from airflow_batchstream import ownership
from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.connection import credentials
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ApiRefused, Interrupted, JobFailed, JobTimedOut
from airflow_batchstream.core.jobs import patience
from airflow_batchstream.core.jobs.handover import from_event
from airflow_batchstream.core.jobs.outcome import result
from airflow_batchstream.emulator.testing import Local, running, start
from airflow_batchstream.operators.errors import AirflowFailException
from airflow_batchstream.ownership import Claim
from airflow_batchstream.services.shared import shared_hub
from airflow_batchstream.triggers import CloudBatchJobTrigger


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with running(tmp_path_factory.mktemp("bad-days"), "--grace", "1") as one:
        yield one


@pytest.fixture
def endpoint(local: Local) -> Endpoint:
    return Endpoint.local(local.address)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with at_once():
        yield


@pytest.fixture(autouse=True)
def every_fault_happens(local: Local) -> Iterator[None]:
    """A fault that matches nothing proves nothing."""
    before = {fault["id"] for fault in local.faults()}
    yield
    assert all(fault["happened"] for fault in local.faults() if fault["id"] not in before)


def waited(endpoint: Endpoint, name: str, text: str, during: Any = None, **watch: Any) -> Wait:
    """A deferred task whose trigger has fired. ``during`` is awaited beside it."""

    async def work() -> Wait:
        async with GoogleClients(endpoint) as clients:
            wait = await deferred(endpoint, name, text, clients, **watch)
            beside = asyncio.ensure_future(during(clients, wait)) if during else None
            await wait.run()
            if beside:
                await beside
        return wait

    found: Wait = in_loop(work)
    return found


def job_of(wait: Wait) -> str:
    return wait.sight.name.job_id


COSTS = "costs money"


class TestBatchThatCannotBeReached:
    def test_for_a_while_ends_no_wait_and_loses_no_line(self, local, endpoint):
        local.inject({"method": "*", "job": "*blackout-*", "status": "UNAVAILABLE", "skip": 4, "times": 6})
        wait = waited(endpoint, "blackout", "seq 20; sleep 2; seq 21 40")
        assert wait.conclude()["state"] == "SUCCEEDED"
        assert wait.log.lines == [str(n) for n in range(1, 41)]
        assert "Batch could not be asked for the job (UNAVAILABLE: " in wait.log.warnings
        assert "Trying again; the job itself goes on." in wait.log.warnings
        assert any("Batch answers again, after it failed" in text for _, text in wait.log.said)

    def test_since_it_restarts_is_waited_for(self, tmp_path):
        """The machine of the local Batch goes and comes back: the task that ran on it has ended as if its VM had."""
        local = start(tmp_path, ("--grace", "1"))
        port, endpoint = local.address.rpartition(":")[2], Endpoint.local(local.address)
        again_up: list[Local] = []

        async def restart(clients: GoogleClients, wait: Wait) -> None:
            await until_line(wait, "begun")
            await asyncio.to_thread(local.stop, 9)
            await asyncio.sleep(1.5)
            again_up.append(await asyncio.to_thread(start, tmp_path, ("--port", port)))

        try:
            wait = waited(endpoint, "restart", "echo begun; sleep 60", restart)
        finally:
            for one in (local, *again_up):
                one.stop()
        with pytest.raises(JobFailed, match="exit code 50003"):
            wait.conclude()
        assert wait.log.lines == ["begun"]
        assert "UNAVAILABLE" in wait.log.warnings

    def test_until_the_deadline_is_told_with_what_the_job_costs(self, local, endpoint):
        local.inject({"method": "*Job", "job": "*dark-*", "status": "UNAVAILABLE", "skip": 3})
        wait = waited(endpoint, "dark", "sleep 30", timeout_at=3.0, cancel_wait=2.0)
        with pytest.raises(JobTimedOut) as failed:
            wait.conclude()
        says = str(failed.value)
        assert "did not end in time: timeout_seconds (3.0 s) has passed" in says
        assert "It could not be cancelled (UNAVAILABLE" in says
        assert f"lives on and {COSTS}" in says
        assert f"gcloud batch jobs cancel {job_of(wait)}" in says
        assert wait.sight.name.console_url in says


class TestAConnectionThatIsMissingInTheTriggerer:
    def test_is_named_and_the_job_goes_on(self, local, endpoint):
        async def work() -> Wait:
            async with GoogleClients(endpoint) as clients:
                made = await deferred(endpoint, "no-connection", "sleep 30", clients)
                wait = again(Endpoint(gcp_conn_id="worker_only"), made.sight)
                await wait.run()
                assert await until_state(clients, made.sight.name, "RUNNING")
                await clients.cancel_job(made.sight.name, "")
                return wait

        wait = in_loop(work)
        with pytest.raises(Interrupted) as failed:
            wait.conclude()
        says = str(failed.value)
        assert "gcp_conn_id: there is no connection 'worker_only'." in says
        assert "have to be there for the triggerer as for workers" in says
        assert "not submitted" not in says  # it was
        assert f"The job {job_of(wait)} lives on, and {COSTS} until its end; a retry adopts it." in says
        assert f"gcloud batch jobs cancel {job_of(wait)}" in says
        assert wait.sight.name.console_url in says


class TestBatchThatLooksAway:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience, "REFUSAL_SECONDS", 2.0)

    def test_for_want_of_a_role_ends_the_wait_for_good_and_names_the_role(self, local, endpoint):
        local.inject({"method": "GetJob", "job": "forbidden-*", "status": "PERMISSION_DENIED", "skip": 3})
        wait = waited(endpoint, "forbidden", "sleep 30")
        with pytest.raises(AirflowFailException) as failed:
            wait.conclude()
        says, job = str(failed.value), result(from_event(wait.events[0]["outcome"]))
        assert (job["state"], job["ended"]) == ("RUNNING", None)
        assert "Batch does not let us look at job" in says
        assert "roles/batch.jobsEditor" in says
        assert "The job has printed nothing yet." in says
        assert f"lives on and {COSTS}. This ends it: gcloud batch jobs cancel {job_of(wait)}" in says  # no retry comes
        assert wait.sight.name.console_url in says


class TestCredentialsThatExpire:
    """Real ones (workload identity) with a token server of the test's; calls go to Google's names, with TLS."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patience, "REFUSAL_SECONDS", 3.0)

    @pytest.fixture
    def tokens(self) -> Iterator[TokenServer]:
        with TokenServer() as server:
            yield server

    @pytest.fixture
    def google(self, local: Local, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
        """Google, as far as its clients can tell, by a connection ``federated``."""
        universe = local.tls_environment["GOOGLE_CLOUD_UNIVERSE_DOMAIN"]
        # gRPC reads the variable with the roots once in a process.
        roots = grpc.ssl_channel_credentials(
            Path(local.tls_environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]).read_bytes()
        )
        composed = functools.partial(grpc.composite_channel_credentials, roots)
        monkeypatch.setattr(grpc, "compute_engine_channel_credentials", composed)
        monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", universe)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test-project")
        extra = {"credential_config_file": tokens.account(local.state_dir / "subject", universe)}
        connection = {"conn_type": "google_cloud_platform", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_FEDERATED", json.dumps(connection))
        own = Endpoint.local(local.address)
        return replace(own, emulator="", gcp_conn_id="federated")

    def test_and_cannot_be_renewed_for_a_while_end_no_wait(self, endpoint, google, tokens):
        async def outage(clients: GoogleClients, wait: Wait) -> None:
            await until_line(wait, "1")
            tokens.answer = 503, {"error": "temporarily_unavailable"}
            await asyncio.sleep(4.0)  # longer than a refusal is borne
            tokens.answer = tokens.GOOD

        wait = self.federated(endpoint, google, "tokens-late", "echo 1; sleep 5; echo 2", outage)
        assert wait.conclude()["state"] == "SUCCEEDED"
        assert wait.log.lines == ["1", "2"]
        assert "(UNAVAILABLE: No access token comes from the connection 'federated': " in wait.log.warnings

    @pytest.mark.parametrize("how", ["revoked", "not accepted"])
    def test_for_good_end_it_with_the_connections_name_and_leave_the_job(self, local, endpoint, google, tokens, how):
        async def expire(clients: GoogleClients, wait: Wait) -> None:
            await until_line(wait, "1")
            if how == "revoked":
                tokens.answer = 400, {"error": "invalid_grant", "error_description": "Token has been revoked."}
            else:
                local.inject({"method": "GetJob", "job": f"{job_of(wait)}", "status": "UNAUTHENTICATED"})

        name = f"tokens-{how.replace(' ', '-')}"
        wait = self.federated(endpoint, google, name, "echo 1; sleep 60", expire)
        local.heal()
        with pytest.raises(ApiRefused) as failed:  # so Airflow's retries are used
            wait.conclude()
        says = str(failed.value)
        reason = "No access token comes from" if how == "revoked" else "The credentials of"
        assert f"UNAUTHENTICATED: {reason} the connection 'federated'" in says
        assert "Give the connection good credentials. The job was not touched; a retry looks at it again." in says
        assert f"lives on and {COSTS}. A retry of this task adopts it" in says
        assert wait.sight.name.console_url in says
        assert self.state(endpoint, wait) == "RUNNING"

    def test_that_do_not_come_when_the_triggerer_starts_are_waited_for(self, endpoint, google, tokens, monkeypatch):
        """As a metadata server that is slower to start. Here it is the project's name that cannot be looked up."""
        good = os.environ["AIRFLOW_CONN_FEDERATED"]
        monkeypatch.setenv("AIRFLOW_CONN_FEDERATED", good.replace("/pool", "/projects/1/pool"))

        async def come(clients: GoogleClients, wait: Wait) -> None:
            while not wait.log.warnings:  # noqa: ASYNC110 - logged from a thread
                await asyncio.sleep(0.05)
            monkeypatch.setenv("AIRFLOW_CONN_FEDERATED", good)

        wait = self.federated(endpoint, google, "tokens-slow", "echo 1", come)
        assert wait.conclude()["state"] == "SUCCEEDED"
        assert wait.log.lines == ["1"]
        assert "no credentials come from the connection 'federated': " in wait.log.warnings
        assert "Trying again; the job itself goes on." in wait.log.warnings

    def test_are_taken_anew_from_the_connection_for_the_next_wait(self, endpoint, google, tokens, monkeypatch):
        """While the hub with the old ones is still in use: a busy triggerer's always is."""

        async def work() -> tuple[Wait, Wait]:
            async with GoogleClients(endpoint) as clients, shared_hub(google, lambda: credentials(google)[0]):
                old = again(google, (await deferred(endpoint, "tokens-new", "echo 1; sleep 8; echo 2", clients)).sight)
                beside = asyncio.create_task(old.run())
                await until_line(old, "1")
                tokens.answer = 400, {"error": "invalid_grant"}
                await beside
                with TokenServer() as elsewhere:
                    extra = {"credential_config_file": elsewhere.account(tokens.subject, tokens.universe)}
                    connection = {"conn_type": "google_cloud_platform", "extra": extra}
                    monkeypatch.setenv("AIRFLOW_CONN_FEDERATED", json.dumps(connection))
                    retry = again(google, old.sight)
                    await retry.run()
                return old, retry

        old, retry = in_loop(work)
        with pytest.raises(ApiRefused):
            old.conclude()
        assert retry.conclude()["state"] == "SUCCEEDED"
        assert retry.log.lines == ["1", "2"]

    @staticmethod
    def federated(endpoint: Endpoint, google: Endpoint, name: str, text: str, during: Any) -> Wait:
        """A job made over plain text, waited for as if by Google's names."""

        async def work() -> Wait:
            async with GoogleClients(endpoint) as clients:
                wait = again(google, (await deferred(endpoint, name, text, clients)).sight)
                beside = asyncio.create_task(during(clients, wait))
                await wait.run()
                await beside
                return wait

        found: Wait = in_loop(work)
        return found

    @staticmethod
    def state(endpoint: Endpoint, wait: Wait) -> str:
        async def work() -> str:
            async with GoogleClients(endpoint) as clients:
                return str((await clients.get_job(wait.sight.name)).state)

        return str(in_loop(work))


class TestAKillThatCannotCancel:
    def test_says_so_and_how_to_end_the_job(self, local, endpoint, monkeypatch):
        async def lost(*_: Any, within: float) -> Claim:
            return Claim.LOST

        async def work() -> Wait:
            async with GoogleClients(endpoint) as clients:
                wait = await deferred(endpoint, "unkillable", "sleep 30", clients)
                wait.trigger._log = wait.log
                wait.trigger.__dict__["task_instance"] = object()
                await wait.trigger.on_kill()
                assert not (await clients.get_job(wait.sight.name)).state.ending
                return wait

        monkeypatch.setattr(ownership, "ask_deferred", lost)
        monkeypatch.setattr(CloudBatchJobTrigger, "task_instance", None, raising=False)  # a property in Airflow 3.3
        local.inject({"method": "CancelJob", "job": "unkillable-*", "status": "PERMISSION_DENIED"})
        wait = in_loop(work)
        assert f"the job {job_of(wait)} could not be cancelled (PERMISSION_DENIED: " in wait.log.warnings
        assert f"lives on and {COSTS}" in wait.log.warnings
        assert f"gcloud batch jobs cancel {job_of(wait)}" in wait.log.warnings


class TestATriggererThatNeverComesBack:
    @pytest.mark.parametrize("reachable", [True, False])
    def test_leaves_the_deadline_to_the_worker_which_says_what_became_of_the_job(
        self, local, endpoint, monkeypatch, reachable
    ):
        monkeypatch.setenv("BATCH_EMULATOR_HOST", local.address)
        name = f"overdue-{reachable}".lower()
        if not reachable:
            local.inject({"method": "CancelJob", "job": f"{name}-*", "status": "PERMISSION_DENIED"})

        async def made() -> Wait:
            async with GoogleClients(endpoint) as clients:
                return await deferred(endpoint, name, "sleep 30", clients)

        wait = in_loop(made)
        with pytest.raises(JobTimedOut, match="the triggerer that waited for it did not say so") as failed:
            wait.overdue()
        says = str(failed.value)
        assert wait.sight.name.console_url in says
        if reachable:
            assert "It is being cancelled." in says
        else:
            assert "It could not be cancelled (PERMISSION_DENIED: " in says
            assert f"and {COSTS} until its end. This ends it: gcloud batch jobs cancel {job_of(wait)}" in says


class TestALogThatMayNotBeRead:
    def test_is_said_once_with_the_role_that_is_missing_and_fails_nothing(self, local, endpoint):
        local.inject({"method": "ListLogEntries", "job": "*unread-*", "status": "PERMISSION_DENIED"})
        wait = waited(replace(endpoint, log_give_up=2.0), "unread", "seq 10; sleep 3")
        assert wait.conclude()["state"] == "SUCCEEDED"
        assert wait.log.lines == []
        assert wait.log.warnings.count("The job's log cannot be read (PERMISSION_DENIED: ") == 1
        assert "Airflow's account needs roles/logging.viewer in project test-project." in wait.log.warnings


class TestALogThatComesLate:
    def test_is_shown_whole_in_order_and_at_its_own_time(self, local, endpoint):
        """Received up to three seconds late, of a job that runs for five: as if it were a minute of Google's."""
        local.inject({"job": "late-*", "late": 3.0, "hidden": 0.5})
        wait = waited(endpoint, "late", "for i in $(seq 100); do echo $i; sleep 0.01; done; sleep 5")
        assert sorted(map(int, wait.log.lines)) == list(range(1, 101))
        by_time = [text for _, text in sorted(zip(wait.log.at, wait.log.lines, strict=True))]
        assert by_time == [str(n) for n in range(1, 101)]


class TestALineOfFiveMegabytes:
    def test_is_shown_whole_in_pieces(self, endpoint):
        wait = waited(endpoint, "huge", "echo before; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after")
        assert (wait.log.lines[0], wait.log.lines[-1]) == ("before", "after")
        pieces = wait.log.lines[1:-1]
        assert max(len(piece.encode()) for piece in pieces) <= 8192
        assert sum(piece.count("x") for piece in pieces) == 5_000_000
        assert {piece.strip("↪↩ x") for piece in pieces} == {""}


class TestTenThousandLinesOfOneInstant:
    def test_are_each_shown_once_in_order(self, local, endpoint):
        one_instant(local, "instant ")
        wait = waited(endpoint, "instant", "for i in $(seq 10000); do echo instant $i; done")
        assert wait.log.lines == [f"instant {n}" for n in range(1, 10_001)]
        assert len(set(wait.log.at)) == 1


class TestTwoTasksThatWaitForOneJob:
    def test_have_every_line_once_each(self, endpoint):
        async def work() -> list[Wait]:
            async with GoogleClients(endpoint) as clients:
                one = await deferred(endpoint, "shared", "seq 500; sleep 2; echo last", clients)
                other = again(endpoint, one.sight)
                await asyncio.gather(one.run(), other.run())
                return [one, other]

        for wait in in_loop(work):
            assert wait.conclude()["state"] == "SUCCEEDED"
            assert wait.log.lines == [*map(str, range(1, 501)), "last"]
