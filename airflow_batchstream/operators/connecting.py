"""From an operator's connection to clients: what those operators share that act on a job of somebody else's."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_batchstream import connection
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.tasklog import TaskLog

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Connected:
    """Where to go, as whom, and in which project unless somebody says otherwise."""

    endpoint: Endpoint
    credentials: Credentials | None
    project_id: str


async def connect(operator: Any, log: TaskLog) -> Connected:
    """What ``gcp_conn_id`` and ``impersonation_chain`` of an operator stand for."""
    endpoint, project = await asyncio.to_thread(connection.locate, operator.gcp_conn_id, operator.impersonation_chain)
    if endpoint.emulator:
        log.say(logging.INFO, f"Using the local Batch at {endpoint.emulator}, not Google Cloud.")
    credentials, own_project = await asyncio.to_thread(connection.credentials, endpoint)
    return Connected(endpoint, credentials, project or own_project)
