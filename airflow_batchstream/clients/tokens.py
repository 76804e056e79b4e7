"""Trouble with credentials, told from trouble with the network: gRPC calls both UNAVAILABLE.

Google's clients fetch their access tokens inside a call. What goes wrong there, a key that was revoked as well as a
token server that is down, comes out of gRPC as UNAVAILABLE, with the reason as text: the first is never mended by
waiting, and a wait that took it for an outage would go on for ever.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeGuard

from airflow_batchstream.core.errors import BatchStreamError
from airflow_batchstream.core.jobs.model import Trouble
from airflow_batchstream.core.words import quoted

_FROM_PLUGIN = "Getting metadata from plugin failed with error: "
_REFUSED = re.compile(
    # OAuth's codes: RFC 6749 5.2, RFC 8693 2.2.2 (Security Token Service), Google's own
    r"\b(?:invalid_(?:request|client|grant|scope|target|rapt)|unauthorized_client|unsupported_grant_type|access_denied"
    r"|deleted_client|org_internal|reauth)"
    # the IAM Credentials API, for impersonation
    r"|\b(?:PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|INVALID_ARGUMENT|FAILED_PRECONDITION)\b"
    # the metadata server; google.auth itself
    r"|Status: 40[0134]\b|[Rr]eauthentication|was not found|No such file|does not contain the necessary fields"
)

_NONE_THERE = "('No access token in response"
_TOKEN = re.compile(r"[!-~]+")


def is_token(given: object) -> TypeGuard[str]:
    """Whether it may stand in a header: printable ASCII without spaces (RFC 6750 2.1 allows less).

    What may not would be refused by the HTTP client in words that quote it.
    """
    return isinstance(given, str) and _TOKEN.fullmatch(given) is not None


def reason(error: Exception) -> str:
    """Why no token came, in the credentials' library's own words: their beginning, on one line.

    What a token server answered instead of a token is not told: where there is no token that the library finds, there
    may be one that a reader would; nor is a web page, or an error of Python's that says nothing to anybody.
    """
    from google.auth.exceptions import GoogleAuthError

    if not isinstance(error, GoogleAuthError | OSError):
        return "what the token server answered cannot be read"
    said = quoted(str(error.args[0] if str(error).startswith(_NONE_THERE) else error))
    return type(error).__name__ if said[:1] in ("", "<") else f"{type(error).__name__}: {said.rstrip('.')}"


def of_credentials(trouble: Trouble, gcp_conn_id: str) -> Trouble:
    """The same trouble, but UNAUTHENTICATED if the credentials were refused, and with the connection's name.

    What is neither known to be a refusal nor anything else stays UNAVAILABLE: an outage may have any words.

    :param gcp_conn_id: whose credentials they are; empty for a local Batch, which wants none.
    """
    if not gcp_conn_id:
        return trouble
    if trouble.code == "UNAVAILABLE" and trouble.message.startswith(_FROM_PLUGIN):
        why = trouble.message.removeprefix(_FROM_PLUGIN)
        code = "UNAUTHENTICATED" if _REFUSED.search(why) else trouble.code
        return replace(trouble, code=code, message=f"No access token comes from the connection {gcp_conn_id!r}: {why}")
    if trouble.code == "UNAUTHENTICATED":
        says = f"The credentials of the connection {gcp_conn_id!r} are not accepted: {trouble.message}"
        return replace(trouble, message=says)
    return trouble


def may_pass(error: Exception) -> bool:
    """Whether waiting may mend what went wrong while credentials were looked for, or a token was fetched by them.

    That there are none does not pass: on Google's own machines the library gives some even while the metadata server
    is silent, for it knows them by their firmware.
    """
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    if isinstance(error, BatchStreamError):
        return error.retryable
    if isinstance(error, DefaultCredentialsError) or not isinstance(error, GoogleAuthError):
        return False
    return bool(error.retryable) or not _REFUSED.search(str(error))
