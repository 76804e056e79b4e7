"""Where the command line's access tokens come from: real requests to a token endpoint on loopback that is out of order.

No token is told from no credentials, in the words of the command line, which knows of no connection.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from token_server import TokenServer

from airflow_batchstream.cli.credentials import google_token
from airflow_batchstream.core.errors import NoCredentials

UNREADABLE = [
    "<html>SECRET</html>",
    ["SECRET"],
    7,
    {"access_token": None, "expires_in": 3600},
    {"access_token": 5, "expires_in": 3600},
    {"access_token": "", "expires_in": 3600},
    {"access_token": "SECRET\n", "expires_in": 3600},
    {"access_token": "SECRETö", "expires_in": 3600},
    {"access_token": "SECRET", "expires_in": "abc"},
    {"access_token": "SECRET", "expires_in": [1]},
    {"access_token": "SECRET", "expires_in": 10**14},
]


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def endpoint(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    with TokenServer() as server:
        account = {
            "type": "service_account",
            "private_key_id": "1",
            "private_key": key,
            "client_email": "x@p.iam.gserviceaccount.com",
            "token_uri": server.account(tmp_path / "subject", "googleapis.com")["token_url"],
        }
        file = tmp_path / "key.json"
        file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield server


def refused() -> NoCredentials:
    with pytest.raises(NoCredentials) as caught:
        asyncio.run(google_token()())  # type: ignore[arg-type]
    assert "connection" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    return caught.value


def test_a_token_is_given_as_it_came(endpoint: TokenServer) -> None:
    assert asyncio.run(google_token()()) == "not-a-secret"  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", UNREADABLE, ids=repr)
def test_an_answer_without_a_token_that_can_be_read_is_told_as_such(endpoint: TokenServer, answer: Any) -> None:
    endpoint.answer = (200, answer)
    said = refused()
    assert "the token endpoint of the application default credentials gave no token that can be read" in str(said)
    assert "Error" not in str(said)
    assert "a proxy may stand in its place" in said.remedy


@pytest.mark.parametrize("answer", [{}, {"accessToken": "SECRET"}])
def test_an_answer_that_holds_none_is_not_quoted(endpoint: TokenServer, answer: Any) -> None:
    endpoint.answer = (200, answer)
    assert "No access token in response" in str(refused())


def test_certificates_that_are_not_there_are_told_with_their_file(
    endpoint: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.json"
    file.write_text(file.read_text().replace("http://127.0.0.1", "https://127.0.0.1"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/not/there.pem")
    said = refused()
    assert "/not/there.pem" in said.says
    assert "REQUESTS_CA_BUNDLE" in said.remedy
