"""Calls with patience: what waiting can mend is waited out, what it cannot is put in words."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from airflow_batchstream.core.errors import ApiRefused
from airflow_batchstream.core.jobs.model import Trouble
from airflow_batchstream.core.jobs.patience import backoff, worth_saying

T = TypeVar("T")

Say = Callable[[int, str], None]
"""Level and text, for the task log."""


async def patiently(call: Callable[[], Awaitable[T]], doing: str, say: Say, give_up_after: float) -> T:
    """Repeat a call until it is answered.

    :param doing: what the call is for, to follow "Could not".
    :param give_up_after: seconds for which transient errors are waited out.
    :raises ApiRefused: an error that waiting does not mend, or that lasted too long.
    """
    from airflow_batchstream.clients.google import CallFailed

    loop = asyncio.get_running_loop()
    give_up, tries = loop.time() + give_up_after, 0
    while True:
        try:
            return await call()
        except CallFailed as e:
            trouble = e.trouble
        tries += 1
        pause = backoff(tries, random.random(), retry_after=trouble.retry_after)
        if not trouble.transient or loop.time() + pause > give_up:
            raise refused(trouble, doing)
        if worth_saying(tries):
            say(logging.WARNING, f"Could not {doing} ({trouble.code}: {trouble.message}): trying again.")
        await asyncio.sleep(pause)


_WAY_OUT = {
    "PERMISSION_DENIED": "Airflow's account needs roles/batch.jobsEditor on the project and "
    "roles/iam.serviceAccountUser on the job's service account, and the Batch API (batch.googleapis.com) must be "
    "enabled. A retry helps only after that.",
    "UNAUTHENTICATED": "The connection's credentials were not accepted. Check gcp_conn_id and impersonation_chain.",
    "INVALID_ARGUMENT": "Batch refuses the job as it is; the same job will be refused again.",
    "NOT_FOUND": "Check project_id and region: Batch must be available there.",
    "RESOURCE_EXHAUSTED": "A quota or a rate limit is used up; a retry helps once it is free again.",
    "FAILED_PRECONDITION": "Something that the job needs is not in the state it has to be in.",
}


def refused(trouble: Trouble, doing: str) -> ApiRefused:
    """An API error in words: Google's own, what is missing, and whether a retry helps."""
    way_out = _WAY_OUT.get(trouble.code, "A retry can help." if trouble.transient else "")
    said = trouble.message.strip()
    said += "" if said.endswith((".", "!", "?")) else "."
    message = f"Could not {doing}. Batch says {trouble.code}: {said} {way_out}".rstrip()
    return ApiRefused(message, code=trouble.code, retryable=trouble.transient)
