"""As whom the command line speaks to Google: application default credentials, found when a token is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any


def google_token() -> Callable[[], Awaitable[str]]:
    """A source of access tokens; asks for nothing, and imports nothing of Google's, until a token is wanted."""

    @cache
    def credentials() -> Any:
        import google.auth

        return google.auth.default()[0]

    async def token() -> str:
        from airflow_batchstream.connection import token_source

        fresh = token_source(await asyncio.to_thread(credentials))
        assert fresh is not None
        return await fresh()

    return token
