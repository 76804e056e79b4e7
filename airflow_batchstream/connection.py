"""Airflow's connection, impersonation or a local Batch -> an Endpoint, a project and credentials.

The Google provider's own hook reads the connection, so that everything it supports (key files, secrets, workload
identity, impersonation chains) works here too. It is imported when it is needed: it costs a second.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

EMULATOR_VARIABLE = "BATCH_EMULATOR_HOST"
"""The habit of Google's other emulators (``PUBSUB_EMULATOR_HOST``): ``HOST:PORT``."""
EMULATOR_EXTRA = "batchstream_emulator"
"""The same in the connection's extra, for one connection only."""
DEFAULT_CONNECTION = "google_cloud_default"
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def locate(gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None = None) -> tuple[Endpoint, str]:
    """Where to go, and the connection's own project (empty if it names none). Makes no call to Google.

    :param gcp_conn_id: a connection of type ``google_cloud_platform``. One that does not exist is an error only later,
        when credentials are wanted: application default credentials need none.
    """
    extra = _extra(gcp_conn_id)
    project = str(extra.get("project") or extra.get("extra__google_cloud_platform__project") or "")
    address = os.environ.get(EMULATOR_VARIABLE) or extra.get(EMULATOR_EXTRA)
    if address:
        return Endpoint.local(_address(str(address))), project
    chain = (impersonation_chain,) if isinstance(impersonation_chain, str) else tuple(impersonation_chain or ())
    return Endpoint(gcp_conn_id=gcp_conn_id, impersonation_chain=chain), project


def credentials(endpoint: Endpoint) -> tuple[Credentials | None, str]:
    """The credentials of an endpoint and their project; ``(None, "")`` for a local Batch. Blocks."""
    if endpoint.emulator:
        return None, ""
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

    chain = endpoint.impersonation_chain
    hook = GoogleBaseHook(
        gcp_conn_id=endpoint.gcp_conn_id,
        impersonation_chain=chain[0] if len(chain) == 1 else list(chain) or None,
    )
    found, project = hook.get_credentials_and_project_id()
    return found, project or ""


def token_source(found: Credentials | None) -> Callable[[], Awaitable[str]] | None:
    """A source of access tokens for the image registry, refreshed when they expire; None for a local Batch."""
    if found is None:
        return None

    def fresh() -> str:
        import google.auth.transport.requests
        from google.auth.credentials import with_scopes_if_required

        scoped = with_scopes_if_required(found, _SCOPES)
        if not scoped.valid:
            scoped.refresh(google.auth.transport.requests.Request())
        return str(scoped.token)

    async def token() -> str:
        return await asyncio.to_thread(fresh)

    return token


def _extra(gcp_conn_id: str) -> dict[str, Any]:
    from airflow.sdk import BaseHook

    try:
        from airflow.sdk.exceptions import AirflowNotFoundException
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]

    try:
        return dict(BaseHook.get_connection(gcp_conn_id).extra_dejson)
    except AirflowNotFoundException:
        return {}


def _address(text: str) -> str:
    """``HOST:PORT`` of what people put there: with a scheme, a slash at the end."""
    address = re.sub(r"^(http|grpc)://", "", text.strip()).rstrip("/")
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\s:/@]+):\d{1,5}", address):
        raise InvalidInput(
            [
                Finding(
                    rule="emulator-address",
                    verdict=Verdict.BROKEN,
                    path=EMULATOR_VARIABLE,
                    value=text,
                    says=f"{text!r} is no address of a local Batch.",
                    remedy="Write HOST:PORT, such as 127.0.0.1:8792, or unset it to use Google Cloud.",
                )
            ]
        )
    return address
