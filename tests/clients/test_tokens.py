"""What of the trouble inside a call is about credentials, and whether waiting mends it; in google.auth's own words."""

from __future__ import annotations

import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from airflow_batchstream.clients.tokens import may_pass, of_credentials
from airflow_batchstream.core.jobs.model import Trouble

PLUGIN = "Getting metadata from plugin failed with error: "
REFUSALS = [
    "('Error code invalid_grant: Token has been expired or revoked.', '{\"error\": \"invalid_grant\"}')",
    "('invalid_grant: Bad Request', {'error': 'invalid_grant', 'error_description': 'Bad Request'})",
    "('invalid_client: The OAuth client was not found.', {'error': 'invalid_client'})",
    "('Error code invalid_target: The target service indicated by the \"audience\" parameters is invalid.', '{}')",
    """('Unable to acquire impersonated credentials', '{"error": {"code": 403, "message": "Permission """
    """\'iam.serviceAccounts.getAccessToken\' denied on resource", "status": "PERMISSION_DENIED"}}')""",
    "('Failed to retrieve http://metadata.google.internal/computeMetadata/v1/x/token from the "
    "Google Compute Engine metadata service. Status: 404 Response:\\nb\\'Not Found\\'', <google.auth...>)",
    "Reauthentication is needed. Please run `gcloud auth application-default login` to reauthenticate.",
    "File '/var/run/token' was not found.",
]
OUTAGES = [
    "('Error code temporarily_unavailable', '{\"error\": \"temporarily_unavailable\"}')",
    "HTTPSConnectionPool(host='oauth2.googleapis.com', port=443): Max retries exceeded with url: /token (Caused by "
    "NameResolutionError(\"Failed to resolve 'oauth2.googleapis.com' ([Errno -2] Name or service not known)\"))",
    "('Failed to retrieve http://metadata.google.internal/computeMetadata/v1/x/token from the "
    "Google Compute Engine metadata service. Status: 503 Response:\\nb\\'\\'', <google.auth...>)",
    '(\'Unable to acquire impersonated credentials\', \'{"error": {"code": 503, "status": "UNAVAILABLE"}}\')',
    "HTTPSConnectionPool(host='sts.googleapis.com', port=443): Read timed out. (read timeout=120)",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_no_outage(text: str) -> None:
    found = of_credentials(Trouble("UNAVAILABLE", PLUGIN + text), "mine")
    assert found == Trouble("UNAUTHENTICATED", f"No access token comes from the connection 'mine': {text}")


@pytest.mark.parametrize("text", OUTAGES)
def test_an_outage_is_waited_out_and_named(text: str) -> None:
    found = of_credentials(Trouble("UNAVAILABLE", PLUGIN + text), "mine")
    assert found == Trouble("UNAVAILABLE", f"No access token comes from the connection 'mine': {text}")


def test_what_the_service_does_not_accept_is_told_with_the_connections_name() -> None:
    found = of_credentials(Trouble("UNAUTHENTICATED", "Request had invalid authentication credentials."), "mine")
    assert found.message.startswith("The credentials of the connection 'mine' are not accepted: Request had")


def test_other_trouble_is_left_as_it_is() -> None:
    for trouble in (Trouble("UNAVAILABLE", "connection reset"), Trouble("PERMISSION_DENIED", "invalid_grant")):
        assert of_credentials(trouble, "mine") is trouble


def test_a_local_batch_has_no_connection_to_name() -> None:
    trouble = Trouble("UNAUTHENTICATED", "Injected")
    assert of_credentials(trouble, "") is trouble


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_does_not_pass(text: str) -> None:
    assert not may_pass(RefreshError(text))


@pytest.mark.parametrize("text", OUTAGES)
def test_an_outage_may_pass(text: str) -> None:
    assert may_pass(RefreshError(text))
    assert may_pass(TransportError(text))


def test_that_there_are_no_credentials_does_not_pass() -> None:
    assert not may_pass(DefaultCredentialsError("Your default credentials were not found."))
    assert not may_pass(RuntimeError("a fault of ours"))
