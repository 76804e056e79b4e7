"""As whom the command line speaks to Google: application default credentials, found when a token is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

_SIGN_IN = (
    "Sign in with gcloud auth application-default login, or name a key's file in GOOGLE_APPLICATION_CREDENTIALS; to "
    "ask a local Batch, which wants none, set BATCH_EMULATOR_HOST."
)


def google_token() -> Callable[[], Awaitable[str]]:
    """A source of access tokens; asks for nothing, and imports nothing of Google's, until a token is wanted.

    It raises :class:`NoCredentials` where there are none, or no token comes from them.
    """

    @cache
    def credentials() -> Any:
        import google.auth

        return google.auth.default()[0]

    async def token() -> str:
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        from airflow_batchstream.clients.tokens import may_pass
        from airflow_batchstream.connection import token_source
        from airflow_batchstream.core.errors import NoCredentials

        try:
            fresh = token_source(await asyncio.to_thread(credentials))
            assert fresh is not None
            return await fresh()
        except DefaultCredentialsError as error:
            says = f"this machine has no Google credentials ({_reason(error)})."
            raise NoCredentials(says, remedy=_SIGN_IN, retryable=False) from error
        except GoogleAuthError as error:
            says = f"the application default credentials gave no access token ({_reason(error)})."
            passing = may_pass(error)
            remedy = "Try again: it may pass." if passing else _SIGN_IN
            raise NoCredentials(says, remedy=remedy, retryable=passing) from error

    return token


def _reason(error: Exception) -> str:
    """The first sentences of Google's own words, which can be a whole JSON document, on one line."""
    said = " ".join("".join(c if c.isprintable() else " " for c in str(error)[:1000]).split())
    return f"{type(error).__name__}: {said[:300].rstrip('.')}" if said else type(error).__name__
