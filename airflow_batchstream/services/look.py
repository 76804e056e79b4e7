"""The first look at a job that somebody else created."""

from __future__ import annotations

import asyncio
from typing import Protocol

from airflow_batchstream.core.errors import ApiRefused
from airflow_batchstream.core.jobs.model import JobName, Sight
from airflow_batchstream.core.jobs.patience import GONE_SECONDS
from airflow_batchstream.services.calls import Say, patiently

LOOK_SECONDS = 600.0


class Batch(Protocol):
    """What is needed of :class:`airflow_batchstream.clients.google.GoogleClients`."""

    async def get_job(self, name: JobName) -> Sight: ...


async def first_look(batch: Batch, name: JobName, say: Say, within: float = LOOK_SECONDS) -> Sight:
    """The job, once Batch answers.

    :param within: seconds for which transient errors are waited out. An absence is borne for a few only: reads may lag
        behind the create.
    :raises ApiRefused: there is no such job, or Batch does not let us look.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        try:
            return await patiently(lambda: batch.get_job(name), f"look at the job {name}", say, within)
        except ApiRefused as e:
            if e.code != "NOT_FOUND":
                raise
            if loop.time() - began >= min(GONE_SECONDS, within):
                raise ApiRefused(
                    f"There is no job {name}: it was deleted, or never existed. Check its project, region and id; "
                    "Batch forgets a job 60 days after its end.",
                    code=e.code,
                ) from None
        await asyncio.sleep(1.0)
