"""The operator that cancels a job of another task: a teardown, or the branch for when all has failed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, XComArg

from airflow_batchstream import connection, links, ownership
from airflow_batchstream.core.errors import Interrupted, InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs import named, prepare
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.operators.connecting import Connected, connect
from airflow_batchstream.operators.ends import JOB_KEY
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.operators.stop import Stop
from airflow_batchstream.tasklog import TaskLog

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients
    from airflow_batchstream.services.cancel import Done

WAIT_SECONDS = 600.0


class CloudBatchCancelJobOperator(BaseOperator):
    """Cancel a Batch job that another task created; succeed if there is nothing to cancel.

    It may run again and again, and as a teardown: ``.as_teardown(setups=...)``. The job is CANCELLED, not deleted: it
    and its log stay readable.

    :param job_task_id: the task whose job is cancelled, in the same run of the same Dag (inside a task group its id
        begins with the group's): by the XCom ``batch_job`` that it left, or, where it left none (it died in between, or
        is being retried), by its labels on the job. Of a mapped task, those of all map indexes; in a mapped task group,
        that of the same.
    :param job: instead: the dict of XCom ``batch_job``, or ``projects/PROJECT/locations/REGION/jobs/JOB``. None, from a
        template or XCom, is nothing to cancel.
    :param job_id: instead: the job's id, with ``project_id`` and ``region``.
    :param project_id: the project of the job; by default the connection's own.
    :param region: the region of the job; needed with ``job_task_id`` and ``job_id``.
    :param wait_for_end: wait until the job has ended. If False, the task succeeds once Batch has taken the request; the
        job's VMs then cost money for some moments more.
    :param timeout_seconds: longest such wait; after it the task fails, and a retry goes on waiting.
    :param gcp_conn_id: the Airflow connection whose credentials are used.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    """

    template_fields: Sequence[str] = (
        "job_task_id",
        "job",
        "job_id",
        "project_id",
        "region",
        "timeout_seconds",
        "gcp_conn_id",
        "impersonation_chain",
    )
    operator_extra_links = (links.BatchJobLink(),)
    ui_color = "#fce8e6"

    def __init__(
        self,
        *,
        job_task_id: str | XComArg | None = None,
        job: Mapping[str, Any] | str | XComArg | None = None,
        job_id: str | XComArg | None = None,
        project_id: str | XComArg | None = None,
        region: str | XComArg | None = None,
        wait_for_end: bool = False,
        timeout_seconds: float | str | timedelta | XComArg = WAIT_SECONDS,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_task_id = job_task_id
        self.job = job
        self.job_id = job_id
        self.project_id = project_id
        self.region = region
        self.wait_for_end = wait_for_end
        self.timeout_seconds = timeout_seconds
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.console_links: dict[str, str] = {}
        self._stop = Stop()
        self._check_literals()

    def _check_literals(self) -> None:
        given = [name for name in ("job_task_id", "job", "job_id") if getattr(self, name) is not None]
        if len(given) != 1:
            says = f"{' and '.join(given)} are given." if given else "no job is named."
            raise _refused(given[0] if given else "job_task_id", says, "Give one of job_task_id, job and job_id.")
        if self.job_task_id is not None and not self.region:
            says = "no region is given; where the task left no XCom, its job is looked for in a region, by its labels."
            raise _refused("region", says, "Give the region of the job.")
        if self.job_task_id is None:
            named.check_literals(self.job, self.job_id)

    def execute(self, context: Any) -> list[dict[str, str]]:
        """Cancel; what became of each job is the result: ``name``, ``state`` and ``did``."""
        with final_errors(named.LEAD), asyncio.Runner() as runner:
            return runner.run(self._all(context))

    async def _all(self, context: Any) -> list[dict[str, str]]:
        from airflow_batchstream.clients.google import GoogleClients

        stop, log = self._stop.bind(), TaskLog(self.log)
        connected = await connect(self, log)
        async with GoogleClients(connected.endpoint, connected.credentials) as clients:
            work = asyncio.create_task(self._cancel(clients, connected, context, log))
            stopping = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not work.done():
                    raise Interrupted("The task was told to stop; a retry goes on.", job={})
                return work.result()
            finally:
                work.cancel()
                stopping.cancel()

    async def _cancel(
        self, clients: GoogleClients, connected: Connected, context: Any, log: TaskLog
    ) -> list[dict[str, str]]:
        from airflow_batchstream.services import cancel

        jobs = await self._jobs(clients, connected, context, log)
        if not jobs:
            log.say(logging.INFO, "There is no job: nothing to cancel.")
            return []
        self._link(context, jobs[0])
        salt = str(context["ti"].id)
        done: list[Done] = [await cancel.cancel(clients, name, salt, log.say) for name in jobs]
        if self.wait_for_end:
            seconds = prepare.timing(timeout_seconds=self.timeout_seconds).timeout or WAIT_SECONDS
            poll, give_up_at = min(3.0, clients.endpoint.poll), time.time() + seconds
            waits = (cancel.until_ended(clients, one, poll=poll, give_up_at=give_up_at, say=log.say) for one in done)
            done = list(await asyncio.gather(*waits))
        return [one.as_dict() for one in done]

    # -- which jobs ------------------------------------------------------------------------------------------------

    async def _jobs(self, clients: GoogleClients, connected: Connected, context: Any, log: TaskLog) -> list[JobName]:
        from airflow_batchstream.services import cancel

        project_id = str(self.project_id or connected.project_id)
        if self.job_task_id is None:
            if self.job_id is None and self.job in (None, "", "None"):  # nothing was pushed
                return []
            return [named.named(self.job, self.job_id, project_id, self.region).name]
        task_id = str(self.job_task_id)
        indexes, pushed, whole = await asyncio.to_thread(_pushed, context["ti"], task_id)
        names = [named.named(job).name for job in pushed]
        if whole:
            return names
        log.say(logging.INFO, f"Looking for jobs with the labels of the task {task_id}.")
        if not project_id:
            says = "no project is given, and neither does the connection name one."
            raise _refused("project_id", says, "Give project_id=, or set the project in the Google Cloud connection.")
        owner = replace(ownership.owner_of(context), task_id=task_id)
        parent = JobName(project_id, str(self.region), "").parent
        names += await cancel.find(clients, parent, owner, indexes, log.say)
        return list(dict.fromkeys(names))

    def _link(self, context: Any, name: JobName) -> None:
        self.console_links = {links.BatchJobLink().xcom_key: name.console_url}
        links.push(context, self.console_links)

    def on_kill(self) -> None:
        """Told to stop: the wait leaves; what was asked for is done all the same."""
        self._stop.set()


def _pushed(ti: Any, task_id: str) -> tuple[tuple[int, ...] | None, list[Any], bool]:
    """The jobs that a task left in XCom.

    :return: the map indexes that are meant, None for all; the jobs; and whether there can be no others. A mapped task
        in a mapped task group means the one beside it, never that of another index.
    """
    own = ti.map_index if ti.map_index is not None and ti.map_index >= 0 else None
    if own is not None:
        beside = [ti.xcom_pull(task_ids=task_id, key=JOB_KEY, map_indexes=index) for index in (own, None)]
        job = next((job for job in beside if job), None)
        return (own, -1), [job] if job else [], job is not None
    found = ti.xcom_pull(task_ids=task_id, key=JOB_KEY)
    if isinstance(found, Mapping):
        return None, [found], True
    return None, [job for job in found or () if job], False


def _refused(path: str, says: str, remedy: str) -> InvalidInput:
    return InvalidInput([Finding("which-job", Verdict.BROKEN, path, None, says, remedy)], lead=named.LEAD)
