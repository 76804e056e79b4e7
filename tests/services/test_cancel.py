"""Jobs cancelled by somebody who did not create them, against a local Batch, with its faults."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from submitting import PROJECT, REGION, script, submitted, until_state

from airflow_batchstream.core.errors import ApiRefused, JobTimedOut
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.services import cancel

LONG, SHORT = script("sleep 60"), script("true")
PARENT = f"projects/{PROJECT}/locations/{REGION}"


class TestAJob:
    def test_that_runs_is_cancelled_and_its_end_may_be_waited_for(self, in_loop, owner, told):
        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            await until_state(clients, name, "RUNNING")
            done = await cancel.cancel(clients, name, "a", told.say)
            assert (done.did, done.state, done.ended) == ("cancelled", "RUNNING", False)
            return await cancel.until_ended(clients, done, poll=0.1, give_up_at=time.time() + 30, say=told.say)

        done = in_loop(work)
        assert done.as_dict()["did"] == "cancelled"
        assert done.as_dict()["state"] == "CANCELLED"
        assert "was RUNNING: cancelling it" in str(told)

    def test_that_has_ended_needs_nothing(self, in_loop, owner, told):
        async def work(clients):
            name = (await submitted(clients, owner, SHORT, told)).sight.name
            await until_state(clients, name, "SUCCEEDED")
            return await cancel.cancel(clients, name, "a", told.say)

        done = in_loop(work)
        assert (done.did, done.state, done.ended) == ("ended already", "SUCCEEDED", True)
        assert "was SUCCEEDED already: nothing to cancel" in str(told)

    def test_that_never_was_needs_nothing(self, in_loop, told):
        done = in_loop(lambda c: cancel.cancel(c, JobName(PROJECT, REGION, "never-was"), "a", told.say))
        assert (done.did, done.state, done.ended) == ("gone", "", True)
        assert "There is no job" in str(told)

    def test_may_be_cancelled_again_and_again(self, in_loop, local, owner, told):
        local.inject({"job": f"*{owner.dag_id}-*", "stay": "CANCELLATION_IN_PROGRESS", "seconds": 2})

        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            await until_state(clients, name, "RUNNING")
            did = [(await cancel.cancel(clients, name, salt, told.say)).did for salt in ("a", "a", "b")]
            await until_state(clients, name, "CANCELLED")
            return did

        assert in_loop(work) == ["cancelled", "ending already", "ending already"]

    def test_that_does_not_end_in_time_is_told_with_what_it_costs(self, in_loop, local, owner, told):
        local.inject({"job": f"*{owner.dag_id}-*", "stay": "CANCELLATION_IN_PROGRESS", "seconds": 5})

        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            await until_state(clients, name, "RUNNING")
            done = await cancel.cancel(clients, name, "a", told.say)
            await cancel.until_ended(clients, done, poll=0.1, give_up_at=time.time() + 1, say=told.say)

        with pytest.raises(JobTimedOut, match=r"still CANCELLATION_IN_PROGRESS after 1.*cost money") as late:
            in_loop(work)
        assert late.value.retryable


class TestTrouble:
    @pytest.mark.parametrize("method", ["GetJob", "CancelJob"])
    def test_that_passes_is_waited_out(self, in_loop, local, owner, told, method):
        local.inject({"method": method, "job": f"*{owner.dag_id}-*", "status": "UNAVAILABLE", "times": 1})

        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            return await cancel.cancel(clients, name, "a", told.say)

        assert in_loop(work).did == "cancelled"
        assert "trying again" in told.warnings

    def test_of_a_job_that_ends_between_look_and_cancel_is_none(self, in_loop, local, owner, told):
        class EndsMeanwhile:
            """Lets the job end before the cancel is sent."""

            def __init__(self, clients):
                self.get_job, self._clients = clients.get_job, clients

            async def cancel_job(self, name, request_id):
                await self._clients.cancel_job(name, "")
                await until_state(self._clients, name, "CANCELLED")
                await self._clients.cancel_job(name, request_id)

        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            return await cancel.cancel(EndsMeanwhile(clients), name, "a", told.say)

        done = in_loop(work)
        assert (done.did, done.state) == ("ended already", "CANCELLED")

    def test_that_is_a_refusal_fails_with_what_is_missing(self, in_loop, local, owner, told):
        local.inject({"method": "CancelJob", "job": f"*{owner.dag_id}-*", "status": "PERMISSION_DENIED", "times": 1})

        async def work(clients):
            name = (await submitted(clients, owner, LONG, told)).sight.name
            await cancel.cancel(clients, name, "a", told.say)

        with pytest.raises(ApiRefused, match=r"roles/batch\.jobsEditor"):
            in_loop(work)


class TestTheJobsOfATask:
    def test_are_found_by_their_labels_those_of_other_runs_and_tasks_are_not(self, in_loop, owner, told):
        others = [
            replace(owner, run_id="other"),
            replace(owner, task_id="other"),
            replace(owner, run_started="2027-01-01T00:00:00+00:00"),  # the same run of another Airflow
        ]

        async def work(clients):
            mine = (await submitted(clients, owner, LONG, told)).sight.name
            for other in others:
                await submitted(clients, other, LONG, told)
            cleared = replace(owner, max_tries=7)  # asked by an attempt that knows nothing of the first
            return mine, await cancel.find(clients, PARENT, cleared, None, told.say)

        mine, found = in_loop(work)
        assert found == [mine]

    def test_of_a_mapped_task_are_those_of_all_its_indexes_or_of_some(self, in_loop, owner, told):
        async def work(clients):
            names = [(await submitted(clients, replace(owner, map_index=n), LONG, told)).sight.name for n in range(3)]
            every = await cancel.find(clients, PARENT, owner, None, told.say)
            one = await cancel.find(clients, PARENT, owner, (1, -1), told.say)
            return names, every, one

        names, every, one = in_loop(work)
        assert set(every) == set(names)
        assert one == [names[1]]

    def test_that_have_ended_are_left_out(self, in_loop, owner, told):
        async def work(clients):
            name = (await submitted(clients, owner, SHORT, told)).sight.name
            await until_state(clients, name, "SUCCEEDED")
            return await cancel.find(clients, PARENT, owner, None, told.say)

        assert in_loop(work) == []
