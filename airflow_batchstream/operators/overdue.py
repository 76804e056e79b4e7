"""A deferred task that its triggerer did not bring back in time: the deadline is kept by the worker."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow_batchstream import connection
from airflow_batchstream.core.errors import JobTimedOut
from airflow_batchstream.core.jobs import identity
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.operators.ends import JOB_KEY
from airflow_batchstream.services.hub import Hub


async def overdue(context: Any, *, cancel: bool, gcp_conn_id: str, impersonation_chain: Any) -> None:
    """Cancel the job if a deadline may, and raise what the trigger would have told.

    :param cancel: whether it may.
    :param gcp_conn_id: the connection to do it with, and by ``impersonation_chain`` as whom.
    :raises JobTimedOut: always.
    """
    ti = context["ti"]
    job = ti.xcom_pull(key=JOB_KEY, task_ids=ti.task_id, map_indexes=ti.map_index) or {}
    text = f"The job {job.get('name', '')} did not end in time, and the triggerer that waited for it did not say so."
    if not job:
        raise JobTimedOut(f"{text} It was not cancelled: it may live on and cost money.", job=job)
    name = JobName.parse(job["name"])
    way_out = f"This ends it: {name.cancel_command}\nConsole: {name.console_url}"
    if not cancel:
        raise JobTimedOut(f"{text} It was not cancelled: it may live on and cost money. {way_out}", job=job)
    from airflow_batchstream.clients.google import CallFailed, GoogleClients

    endpoint, _ = await asyncio.to_thread(connection.locate, gcp_conn_id, impersonation_chain)
    credentials, _ = await asyncio.to_thread(connection.credentials, endpoint)
    async with GoogleClients(endpoint, credentials) as clients:
        try:
            await Hub(clients).cancel_surely(name, identity.request_id(f"{name}/cancel", str(ti.id)))
        except CallFailed as e:
            raise JobTimedOut(
                f"{text} It could not be cancelled ({e}), and costs money until its end. {way_out}", job=job
            ) from None
    raise JobTimedOut(f"{text} It is being cancelled. {name.console_url}", job=job)
