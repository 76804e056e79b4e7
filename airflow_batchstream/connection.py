"""Airflow's connection, impersonation or a local Batch -> an Endpoint, a project and credentials.

The Google provider's own hook reads the connection, so that everything it supports (key files, secrets, workload
identity, impersonation chains) works here too. It is imported when it is needed: it costs a second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_batchstream.core.endpoint import Endpoint, read_address
from airflow_batchstream.core.errors import InvalidInput, NoCredentials
from airflow_batchstream.core.findings import Finding, Verdict

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

EMULATOR_VARIABLE = "BATCH_EMULATOR_HOST"
"""The habit of Google's other emulators (``PUBSUB_EMULATOR_HOST``): ``HOST:PORT``."""
EMULATOR_EXTRA = "batchstream_emulator"
"""The same in the connection's extra, for one connection only."""
DEFAULT_CONNECTION = "google_cloud_default"
TOKEN_SECONDS = 15.0
"""For each request of a token server; two minutes by default, in which nobody knows what a task waits for."""
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def locate(gcp_conn_id: str, impersonation_chain: str | Sequence[str] | None = None) -> tuple[Endpoint, str]:
    """Where to go, and the connection's own project (empty if it names none). Makes no call to Google.

    :param gcp_conn_id: a connection of type ``google_cloud_platform``. One that does not exist is an error only later,
        when credentials are wanted: application default credentials need none.
    """
    extra = _extra(gcp_conn_id)
    project = str(extra.get("project") or extra.get("extra__google_cloud_platform__project") or "")
    if variable := os.environ.get(EMULATOR_VARIABLE):
        return Endpoint.local(_address(variable, EMULATOR_VARIABLE)), project
    if own := extra.get(EMULATOR_EXTRA):
        return Endpoint.local(_address(str(own), f"{EMULATOR_EXTRA} of the connection {gcp_conn_id}")), project
    chain = (impersonation_chain,) if isinstance(impersonation_chain, str) else tuple(impersonation_chain or ())
    return Endpoint(gcp_conn_id=gcp_conn_id, impersonation_chain=chain), project


def reach(endpoint: Endpoint) -> None:
    """Fail at once where no local Batch serves, which the calls to it would try again for minutes. Blocks.

    :raises ApiRefused: with the way out; a retry helps once the local Batch is started.
    """
    from airflow_batchstream.clients import local_batch

    local_batch.reach(
        endpoint, otherwise=f"take the address out of {EMULATOR_VARIABLE} and the connection's {EMULATOR_EXTRA}"
    )


def credentials(endpoint: Endpoint) -> tuple[Credentials | None, str]:
    """The credentials of an endpoint and their project; ``(None, "")`` for a local Batch. Blocks.

    :raises InvalidInput: there is no such connection, or what it holds is no key.
    :raises NoCredentials: there are none, which is final, or Google gives none, which may be passing.
    """
    if endpoint.emulator:
        return None, ""
    from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
    from google.auth.exceptions import GoogleAuthError

    from airflow_batchstream.clients.tokens import may_pass

    name, chain = endpoint.gcp_conn_id, endpoint.impersonation_chain
    try:
        hook = GoogleBaseHook(
            gcp_conn_id=name, impersonation_chain=chain[0] if len(chain) == 1 else list(chain) or None
        )
        found, project = hook.get_credentials_and_project_id()
    except _not_found():
        raise _refused(
            "gcp_conn_id",
            name,
            f"there is no connection {name!r}.",
            "Create it (type google_cloud_platform; an empty one uses application default credentials), or set "
            f"{EMULATOR_VARIABLE} to use a local Batch.",
        ) from None
    except GoogleAuthError as e:
        raise NoCredentials(
            f"gcp_conn_id: no credentials come from the connection {name!r}: {str(e).rstrip('.')}.",
            remedy="Put a key into it, or give the machine that runs the task a service account.",
            retryable=may_pass(e),
        ) from e
    except (ValueError, OSError) as e:
        says = f"the key of the connection {name!r} cannot be loaded ({type(e).__name__}: {e})."
        raise _refused("gcp_conn_id", name, says, "Check its keyfile_dict, key_path or key_secret_name.") from e
    return found, project or ""


def token_source(found: Credentials | None) -> Callable[[], Awaitable[str]] | None:
    """A source of access tokens for the image registry, refreshed when they expire; None for a local Batch."""
    if found is None:
        return None

    def fresh() -> Any:
        from google.auth.credentials import with_scopes_if_required
        from google.auth.transport.requests import Request

        scoped = with_scopes_if_required(found, _SCOPES)
        if not scoped.valid:
            scoped.refresh(partial(Request(), timeout=TOKEN_SECONDS))
        return scoped.token  # whoever uses it looks whether it is one

    async def token() -> str:
        return await asyncio.to_thread(fresh)

    return token


def _extra(gcp_conn_id: str) -> dict[str, Any]:
    from airflow.sdk import BaseHook

    try:
        return dict(BaseHook.get_connection(gcp_conn_id).extra_dejson)
    except _not_found():
        return {}


def _not_found() -> type[Exception]:
    try:
        from airflow.sdk.exceptions import AirflowNotFoundException
    except ImportError:  # Airflow 3.1
        from airflow.exceptions import AirflowNotFoundException  # type: ignore[attr-defined]
    return AirflowNotFoundException


def _address(text: str, where: str) -> str:
    try:
        return read_address(text)
    except ValueError as error:
        way = "Write HOST:PORT, such as 127.0.0.1:8484, or leave it out to use Google Cloud."
        raise _refused(where, text, str(error), way) from None


def _refused(path: str, value: str, says: str, remedy: str) -> InvalidInput:
    return InvalidInput([Finding("connection", Verdict.BROKEN, path, value, says, remedy)])
