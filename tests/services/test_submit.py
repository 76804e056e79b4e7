"""One job for one attempt, whatever happened before: against a local Batch, with its faults."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest
from submitting import PROJECT, REGION, script, submission, submitted, until_state

from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ApiRefused, ImageRefused, JobExists
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.model import State

LONG = script("sleep 60")
SHORT = script("true")


class TestAnOutage:
    def test_is_borne_once_and_not_by_each_call_anew(self, owner, told):
        """Nobody listens at the port, as in an outage of everything: the look for lost jobs, then the creation."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            nobody = Endpoint.local(f"127.0.0.1:{taken.getsockname()[1]}")

        async def main() -> float:
            async with GoogleClients(nobody) as clients:
                began = time.monotonic()
                with pytest.raises(ApiRefused, match=r"Could not create the job.*A retry can help") as caught:
                    await submitted(clients, owner, SHORT, told, give_up_after=4)
                assert caught.value.retryable
                return time.monotonic() - began

        assert asyncio.run(main()) < 7
        assert "Jobs that an earlier attempt may have left running were not looked for" in told.warnings


class TestANewJob:
    def test_is_created_under_the_first_generation_of_its_id(self, in_loop, owner, told):
        found = in_loop(lambda c: submitted(c, owner, SHORT, told))
        assert found.sight.name.job_id == identity.job_id(owner, 1)
        assert not found.adopted

    def test_carries_the_labels_of_its_attempt(self, in_loop, owner, told):
        found = in_loop(lambda c: submitted(c, owner, SHORT, told))
        labels = found.sight.labels
        assert labels["airflow-dag-id"] == owner.dag_id
        assert found.sight.spec["allocationPolicy"]["labels"]["airflow-task-id"] == "task"

    def test_is_made_once_though_the_first_answer_was_lost(self, in_loop, local, owner, told):
        local.inject({"method": "CreateJob", "job": f"*{owner.dag_id}-*", "lost": True, "times": 1})

        async def work(clients):
            found = await submitted(clients, owner, SHORT, told)
            return found, await clients.list_jobs(f"projects/{PROJECT}/locations/{REGION}", "")

        found, jobs = in_loop(work)
        ours = [j for j in jobs if j.labels.get("airflow-dag-id") == owner.dag_id]
        assert [j.uid for j in ours] == [found.sight.uid]
        assert "trying again" in told.warnings

    @pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED"])
    def test_is_made_once_though_it_was_made_and_an_error_answered(self, in_loop, local, owner, told, code):
        local.inject({"method": "CreateJob", "job": f"*{owner.dag_id}-*", "status": code, "when": "after", "times": 2})
        found = in_loop(lambda c: submitted(c, owner, SHORT, told))
        assert found.sight.name.job_id == identity.job_id(owner, 1)

    def test_that_batch_refuses_is_told_in_batchs_words_with_what_is_missing(self, in_loop, local, owner, told):
        local.inject(
            {
                "method": "CreateJob",
                "job": f"*{owner.dag_id}-*",
                "status": "PERMISSION_DENIED",
                "message": "no batch.jobs.create",
            }
        )
        with pytest.raises(ApiRefused, match=r"no batch\.jobs\.create.*roles/batch\.jobsEditor") as refused:
            in_loop(lambda c: submitted(c, owner, SHORT, told))
        assert not refused.value.retryable

    def test_that_meets_a_used_up_quota_for_too_long_may_be_retried(self, in_loop, local, owner, told):
        local.inject({"method": "CreateJob", "job": f"*{owner.dag_id}-*", "status": "RESOURCE_EXHAUSTED"})
        with pytest.raises(ApiRefused, match="quota") as refused:
            in_loop(lambda c: submitted(c, owner, SHORT, told, give_up_after=1.0))
        assert refused.value.retryable


class TestWhatAJobIsMadeOf:
    """The spec that is made when it is wanted: its images are scanned for it."""

    @staticmethod
    def builder(owner, job, *, fails=False):
        calls: list[int] = []

        async def build():
            calls.append(1)
            if fails:
                raise ImageRefused("an empty layer")
            spec = submission(owner, job).spec
            return spec | {"labels": spec["labels"] | {"batchstream-scan": "holds"}}

        return build, calls

    def test_is_found_out_once_for_a_new_job_and_never_for_one_that_is_adopted(self, in_loop, owner, told):
        build, calls = self.builder(owner, LONG)

        async def work(clients):
            first = await submitted(clients, owner, LONG, told, build=build)
            second = await submitted(clients, replace(owner, try_number=2), LONG, told, salt="try-2", build=build)
            await clients.cancel_job(first.sight.name, "")
            return first, second

        first, second = in_loop(work)
        assert len(calls) == 1
        assert (first.adopted, second.adopted, second.sight.uid) == (False, True, first.sight.uid)
        assert second.sight.labels["batchstream-scan"] == "holds"
        assert "another spec" not in told.warnings

    def test_is_found_out_anew_after_a_dead_job(self, in_loop, owner, told):
        build, calls = self.builder(owner, script("exit 3"))

        async def work(clients):
            first = await submitted(clients, owner, SHORT, told, build=build)
            await until_state(clients, first.sight.name, "FAILED")
            return await submitted(clients, owner, SHORT, told, salt="try-2", build=build)

        assert in_loop(work).sight.name.job_id == identity.job_id(owner, 2)
        assert len(calls) == 2

    def test_that_is_refused_leaves_no_job(self, in_loop, owner, told):
        build, _ = self.builder(owner, SHORT, fails=True)

        async def work(clients):
            with pytest.raises(ImageRefused):
                await submitted(clients, owner, SHORT, told, build=build)
            return await clients.list_jobs(f"projects/{PROJECT}/locations/{REGION}", "")

        assert not [job for job in in_loop(work) if job.labels.get("airflow-dag-id") == owner.dag_id]

    def test_a_job_that_appears_meanwhile_is_adopted_and_none_is_doubled(self, in_loop, owner, told):
        async def work(clients):
            async def build():
                await submitted(clients, owner, LONG, told, salt="another worker")
                return submission(owner, LONG).spec

            found = await submitted(clients, owner, LONG, told, build=build)
            jobs = await clients.list_jobs(f"projects/{PROJECT}/locations/{REGION}", "")
            await clients.cancel_job(found.sight.name, "")
            return found, [job for job in jobs if job.labels.get("airflow-dag-id") == owner.dag_id]

        found, jobs = in_loop(work)
        assert found.adopted
        assert [job.uid for job in jobs] == [found.sight.uid]

    def test_is_found_out_once_though_its_first_id_turns_out_to_be_taken_by_a_dead_job(
        self, in_loop, local, owner, told
    ):
        build, calls = self.builder(owner, SHORT)

        async def work(clients):
            first = await submitted(clients, owner, script("exit 3"), told)
            await until_state(clients, first.sight.name, "FAILED")
            local.inject({"method": "GetJob", "job": f"*{owner.dag_id}-*", "status": "PERMISSION_DENIED", "times": 1})
            return await submitted(clients, owner, SHORT, told, salt="try-2", build=build)

        assert in_loop(work).sight.name.job_id == identity.job_id(owner, 2)
        assert len(calls) == 1

    def test_an_account_that_may_not_look_creates_it_all_the_same(self, in_loop, local, owner, told):
        local.inject({"method": "GetJob", "job": f"*{owner.dag_id}-*", "status": "PERMISSION_DENIED", "times": 1})
        build, calls = self.builder(owner, SHORT)
        assert not in_loop(lambda c: submitted(c, owner, SHORT, told, build=build)).adopted
        assert len(calls) == 1


class TestALaterTry:
    def test_adopts_the_job_that_runs(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, LONG, told)
            second = await submitted(clients, replace(owner, try_number=2), LONG, told, salt="try-2")
            await clients.cancel_job(first.sight.name, "")
            return first, second

        first, second = in_loop(work)
        assert second.adopted
        assert second.sight.uid == first.sight.uid
        assert "adopted, not created again" in str(told)
        assert not told.warnings

    def test_adopts_the_job_that_succeeded_meanwhile(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, SHORT, told)
            await until_state(clients, first.sight.name, "SUCCEEDED")
            return first, await submitted(clients, owner, SHORT, told, salt="try-2")

        first, second = in_loop(work)
        assert second.sight.uid == first.sight.uid

    @pytest.mark.parametrize("end", ["FAILED", "CANCELLED"])
    def test_makes_a_new_job_after_a_dead_one(self, in_loop, owner, told, end):
        async def work(clients):
            job = script("exit 3") if end == "FAILED" else LONG
            first = await submitted(clients, owner, job, told)
            if end == "CANCELLED":
                await clients.cancel_job(first.sight.name, "")
            await until_state(clients, first.sight.name, end)
            second = await submitted(clients, owner, SHORT, told, salt="try-2")
            third = await submitted(clients, owner, SHORT, told, salt="try-3")
            return second, third

        second, third = in_loop(work)
        assert second.sight.name.job_id == identity.job_id(owner, 2)
        assert not second.adopted
        assert third.sight.uid == second.sight.uid

    def test_waits_for_a_job_that_is_being_cancelled(self, in_loop, owner, told):
        stubborn = script("trap '' TERM; sleep 60 & wait; wait")

        async def work(clients):
            first = await submitted(clients, owner, stubborn, told)
            await until_state(clients, first.sight.name, "RUNNING")
            await clients.cancel_job(first.sight.name, "")
            second = await submitted(clients, owner, SHORT, told, salt="try-2")
            return await clients.get_job(first.sight.name), second

        first, second = in_loop(work)
        assert first.state is State.CANCELLED
        assert second.sight.name.job_id == identity.job_id(owner, 2)
        assert "waiting for its end" in str(told)

    def test_does_not_wait_for_ever_for_a_job_that_is_being_cancelled(self, in_loop, local, owner, told):
        local.inject({"job": f"{owner.dag_id}-*", "stay": "CANCELLATION_IN_PROGRESS", "seconds": 30.0})

        async def work(clients):
            first = await submitted(clients, owner, LONG, told)
            await until_state(clients, first.sight.name, "RUNNING")
            await clients.cancel_job(first.sight.name, "")
            await submitted(clients, owner, SHORT, told, salt="try-2", end_within=1.0)

        with pytest.raises(ApiRefused, match="has not ended in 1 s") as refused:
            in_loop(work)
        assert refused.value.retryable

    def test_says_when_the_spec_is_another_than_that_of_the_adopted_job(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, LONG, told)
            await submitted(clients, owner, script("sleep 61"), told, salt="try-2")
            await clients.cancel_job(first.sight.name, "")

        in_loop(work)
        assert "another spec" in told.warnings


class TestAfterAClear:
    def test_a_job_left_alive_is_cancelled_first(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, LONG, told)
            second = await submitted(clients, replace(owner, max_tries=1), SHORT, told, salt="try-2")
            return await clients.get_job(first.sight.name), second

        first, second = in_loop(work)
        assert first.state is State.CANCELLED
        assert second.sight.uid != first.uid
        assert "cancelling it" in told.warnings

    def test_a_job_left_alive_is_named_and_left_where_kills_do_not_cancel(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, LONG, told)
            await submitted(clients, replace(owner, max_tries=1), SHORT, told, salt="try-2", cancel_lost=False)
            seen = await clients.get_job(first.sight.name)
            await clients.cancel_job(first.sight.name, "")
            return seen

        first = in_loop(work)
        assert not first.state.ended
        assert not first.state.ending
        assert first.name.job_id in told.warnings

    def test_a_listing_that_is_not_allowed_is_a_warning(self, in_loop, local, owner, told):
        local.inject({"method": "ListJobs", "status": "PERMISSION_DENIED", "times": 1})
        assert in_loop(lambda c: submitted(c, owner, SHORT, told)).sight.uid
        assert "not looked for" in told.warnings


class TestAChosenId:
    def test_is_taken_as_it_is(self, in_loop, owner, told):
        found = in_loop(lambda c: submitted(c, owner, SHORT, told, job_id=f"mine-{owner.dag_id}"))
        assert found.sight.name.job_id == f"mine-{owner.dag_id}"

    def test_of_a_strangers_job_is_refused_with_the_owners_name(self, in_loop, owner, told):
        async def work(clients):
            await submitted(clients, owner, SHORT, told, job_id=f"mine-{owner.dag_id}")
            await submitted(
                clients, replace(owner, task_id="other"), SHORT, told, job_id=f"mine-{owner.dag_id}", salt="x"
            )

        with pytest.raises(JobExists, match=f"dag-id {owner.dag_id}.*task-id task"):
            in_loop(work)

    def test_of_a_job_before_the_clear_is_refused_and_told_so(self, in_loop, owner, told):
        async def work(clients):
            await submitted(clients, owner, SHORT, told, job_id=f"mine-{owner.dag_id}")
            await submitted(clients, replace(owner, max_tries=1), SHORT, told, job_id=f"mine-{owner.dag_id}", salt="x")

        with pytest.raises(JobExists, match="before it was cleared"):
            in_loop(work)

    def test_of_a_dead_job_of_ours_is_refused(self, in_loop, owner, told):
        async def work(clients):
            first = await submitted(clients, owner, script("exit 1"), told, job_id=f"mine-{owner.dag_id}")
            await until_state(clients, first.sight.name, "FAILED")
            await submitted(clients, owner, SHORT, told, job_id=f"mine-{owner.dag_id}", salt="x")

        with pytest.raises(JobExists, match="60 days"):
            in_loop(work)
