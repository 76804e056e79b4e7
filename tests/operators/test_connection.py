"""Where the operators go, and what is said where they cannot go there."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from airflow_batchstream import connection
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ApiRefused, InvalidInput, NoCredentials


def google(**extra: object) -> str:
    """A connection as Airflow reads it from the environment."""
    return json.dumps({"conn_type": "google_cloud_platform", "extra": extra})


@pytest.fixture(autouse=True)
def no_local_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(connection.EMULATOR_VARIABLE, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)


@pytest.fixture
def dead_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class TestALocalBatch:
    def test_may_stand_in_the_connections_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", google(batchstream_emulator="http://127.0.0.1:8484/", project="p"))
        assert connection.locate("mine") == (Endpoint.local("127.0.0.1:8484"), "p")

    def test_whose_address_is_none_is_refused_by_the_name_of_its_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", google(batchstream_emulator="localhost"))
        with pytest.raises(
            InvalidInput, match="batchstream_emulator of the connection mine: 'localhost' is no address"
        ):
            connection.locate("mine")
        monkeypatch.setenv(connection.EMULATOR_VARIABLE, "not an address")
        with pytest.raises(InvalidInput, match="BATCH_EMULATOR_HOST: 'not an address' is no address"):
            connection.locate("mine")

    def test_that_does_not_answer_is_told_at_once(self, dead_port: int) -> None:
        with pytest.raises(ApiRefused, match=f"No local Batch answers at 127.0.0.1:{dead_port}.*Start it") as caught:
            connection.reach(Endpoint.local(f"127.0.0.1:{dead_port}"))
        assert caught.value.retryable

    @pytest.mark.parametrize("address", ["no-such-host.invalid:80", "127.0.0.1:99999"])
    def test_that_cannot_be_is_told_too(self, address: str) -> None:
        with pytest.raises(ApiRefused, match="No local Batch answers"):
            connection.reach(Endpoint.local(address))

    def test_that_answers_is_no_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection.reach(Endpoint.local(f"127.0.0.1:{server.getsockname()[1]}"))


class TestCredentials:
    def test_are_none_for_a_local_batch(self) -> None:
        assert connection.credentials(Endpoint.local("127.0.0.1:8484")) == (None, "")

    def test_that_are_no_key_name_the_connection_and_not_the_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = {
            "type": "service_account",
            "private_key": "-----BEGIN PRIVATE KEY-----\nnot-a-key-at-all\n-----END PRIVATE KEY-----\n",
            "client_email": "a@p.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        }
        monkeypatch.setenv("AIRFLOW_CONN_MINE", google(keyfile_dict=json.dumps(key)))
        with pytest.raises(InvalidInput, match="gcp_conn_id: the key of the connection 'mine' cannot be") as caught:
            connection.credentials(Endpoint(gcp_conn_id="mine"))
        assert "not-a-key" not in str(caught.value)

    def test_whose_file_is_missing_name_the_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", google(key_path="/nowhere/key.json"))
        with pytest.raises(InvalidInput, match=r"the connection 'mine' cannot be loaded.*/nowhere/key\.json"):
            connection.credentials(Endpoint(gcp_conn_id="mine"))

    def test_that_are_nowhere_are_final_for_no_retry_brings_them(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_MINE", google())
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setattr("google.auth._default._get_gce_credentials", lambda *_, **__: (None, None))
        with pytest.raises(NoCredentials, match=r"connection 'mine': .*not found.*Put a key into it") as caught:
            connection.credentials(Endpoint(gcp_conn_id="mine"))
        assert not caught.value.retryable
