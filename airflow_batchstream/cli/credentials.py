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
_ITS_FILES = "Look after the file that it names (certificates are named by REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE)."
_NONE_TO_READ = "the token endpoint of the application default credentials gave no token that can be read."
_WHO_ANSWERS = "See what answers there (the token_uri of the credentials): a proxy may stand in its place."


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

        from airflow_batchstream.clients.tokens import is_token, may_pass, reason
        from airflow_batchstream.connection import token_source
        from airflow_batchstream.core.errors import NoCredentials

        try:
            fresh = token_source(await asyncio.to_thread(credentials))
            assert fresh is not None
            if is_token(given := await fresh()):
                return given
            raise NoCredentials(_NONE_TO_READ, remedy=_WHO_ANSWERS, retryable=False)
        except DefaultCredentialsError as error:
            says = f"this machine has no Google credentials ({reason(error)})."
            raise NoCredentials(says, remedy=_SIGN_IN, retryable=False) from error
        except GoogleAuthError as error:
            says = f"the application default credentials gave no access token ({reason(error)})."
            passing = may_pass(error)
            remedy = "Try again: it may pass." if passing else _SIGN_IN
            raise NoCredentials(says, remedy=remedy, retryable=passing) from error
        except OSError as error:
            says = f"the application default credentials gave no access token ({reason(error)})."
            raise NoCredentials(says, remedy=_ITS_FILES, retryable=False) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # of an answer that is none
            raise NoCredentials(_NONE_TO_READ, remedy=_WHO_ANSWERS, retryable=False) from None

    return token
