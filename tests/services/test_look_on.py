"""A wait that only looks on, at a job of somebody else's: against a local Batch, with its faults."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from submitting import PROJECT, REGION, script, submitted

from airflow_batchstream.core.errors import ApiRefused
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.core.jobs.outcome import finish, result
from airflow_batchstream.core.jobs.watch import Reason, Watch
from airflow_batchstream.services.hub import Hub, Subject
from airflow_batchstream.services.look import first_look

CHATTY = script("i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); sleep 0.1; done")


@pytest.fixture
def looked_on(in_loop, owner, told):
    """Submit a job and look on; the outcome, the seconds that it took, and the job's state afterwards."""

    def run(job, seconds=None, **more):
        async def work(clients):
            sight = (await submitted(clients, owner, job, told)).sight
            watch = Watch(
                sight.name, sight.uid, sight.created, poll_seconds=0.2, observer=True, cancel_on_timeout=False
            )
            watch = replace(watch, timeout_at=seconds and time.time() + seconds, **more)
            began = time.time()
            over = await Hub(clients).watch(watch, told, Subject("image", "", True), asyncio.Event())
            took = time.time() - began
            state = str((await clients.get_job(sight.name)).state)
            await clients.cancel_job(sight.name, "") if state == "RUNNING" else None
            return over, took, state

        return in_loop(work)

    return run


class TestALookOn:
    def test_ends_when_the_state_is_reached_and_does_not_wait_for_the_end_of_a_log_that_goes_on(self, looked_on):
        over, took, state = looked_on(CHATTY, wait_for=("RUNNING",))
        assert (over.reason, state) == (Reason.REACHED, "RUNNING")
        assert finish(over)["ended"] is None
        assert took < 4

    def test_ends_when_its_time_is_up_with_the_lines_until_then_and_leaves_the_job(self, looked_on, told):
        over, took, state = looked_on(CHATTY, seconds=3)
        assert (over.reason, state) == (Reason.TIMEOUT, "RUNNING")
        assert result(over)["ended"] is None
        assert 2.9 <= took < 5
        assert told.texts == [str(n) for n in range(len(told.texts))]
        assert len(told.texts) > 5

    def test_for_a_failure_tells_the_exit_codes_and_the_whole_log(self, looked_on, told):
        over, _, _ = looked_on(script("echo why; exit 3"), wait_for=("FAILED",))
        assert finish(over)["exit_codes"] == {"0": 3}
        assert told.texts == ["why"]


class TestTheFirstLook:
    def test_waits_out_passing_trouble(self, in_loop, local, owner, told):
        async def work(clients):
            name = (await submitted(clients, owner, script("true"), told)).sight.name
            local.inject({"method": "GetJob", "job": f"*{owner.dag_id}-*", "status": "UNAVAILABLE", "times": 2})
            return await first_look(clients, name, told.say)

        assert in_loop(work).labels["airflow-dag-id"] == owner.dag_id
        assert "trying again" in told.warnings

    def test_bears_an_absence_for_a_moment_as_reads_may_lag_behind(self, in_loop, local, owner, told):
        async def work(clients):
            name = (await submitted(clients, owner, script("true"), told)).sight.name
            local.inject({"method": "GetJob", "job": f"*{owner.dag_id}-*", "status": "NOT_FOUND", "times": 2})
            return await first_look(clients, name, told.say)

        assert in_loop(work).uid

    def test_says_what_it_looked_for_and_did_not_find(self, in_loop, told):
        with pytest.raises(ApiRefused, match=r"There is no job .*/jobs/never-was: .* 60 days") as refused:
            in_loop(lambda clients: first_look(clients, JobName(PROJECT, REGION, "never-was"), told.say, within=1))
        assert (refused.value.code, refused.value.retryable) == ("NOT_FOUND", False)

    def test_gives_up_on_trouble_that_lasts_and_a_later_look_can_help(self, in_loop, local, owner, told):
        local.inject({"method": "GetJob", "job": f"*{owner.dag_id}-*", "status": "UNAVAILABLE"})

        async def work(clients):
            name = (await submitted(clients, owner, script("true"), told)).sight.name
            await first_look(clients, name, told.say, within=1)

        with pytest.raises(ApiRefused) as refused:
            in_loop(work)
        local.heal()
        assert refused.value.retryable
