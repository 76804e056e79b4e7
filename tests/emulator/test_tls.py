"""TLS on the same port: what was written for Google alone runs unchanged, and plain text is as it was."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import resource
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from airflow_batchstream.cli import app
from airflow_batchstream.emulator import tls
from airflow_batchstream.emulator.testing import Local, running, start

PARENT = "projects/tls-project/locations/us-central1"


def run(program: str, variables: Mapping[str, str]) -> str:
    """What a program prints in a process of its own: gRPC reads the variables once."""
    env = {**os.environ, **variables, "PROGRAM_PARENT": PARENT}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def roots(local: Local) -> str:
    return local.tls_environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"]


def connect(local: Local, name: str, *alpn: str) -> ssl.SSLSocket:
    """A TLS connection that checks the server's certificate as strictly as it can be checked."""
    context = ssl.create_default_context(cafile=roots(local))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(list(alpn))
    host, _, port = local.address.rpartition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=name)


def ask(local: Local, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """A GET over TLS."""
    port = int(local.address.rpartition(":")[2])
    connection = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=roots(local)))
    connection.request("GET", path, headers=dict(headers or {}))
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


class TestWhatWasWrittenForGoogleAlone:
    def test_googles_clients_run_without_a_word_changed(self, emulator: Local) -> None:
        program = """
import asyncio, os, time
from google.cloud import batch_v1
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client

parent, text = os.environ["PROGRAM_PARENT"], "echo over TLS"
runnable = batch_v1.Runnable(script=batch_v1.Runnable.Script(text=text))
group = batch_v1.TaskGroup(task_spec=batch_v1.TaskSpec(runnables=[runnable]))
logs = batch_v1.LogsPolicy(destination=batch_v1.LogsPolicy.Destination.CLOUD_LOGGING)
job = batch_v1.BatchServiceClient().create_job(
    parent=parent, job_id="from-google", job=batch_v1.Job(task_groups=[group], logs_policy=logs)
)

async def end():
    client = batch_v1.BatchServiceAsyncClient()
    while (found := await client.get_job(name=job.name)).status.state < 4:
        await asyncio.sleep(0.1)
    return found.status.state.name

print(asyncio.run(end()))
entries = LoggingServiceV2Client().list_log_entries(
    {"resource_names": ["projects/tls-project"], "filter": f'labels.job_uid="{job.uid}" AND logName:"task_logs"'}
)
print(*(entry.text_payload for entry in entries))
"""
        assert run(program, emulator.tls_environment) == "SUCCEEDED\nover TLS\n"

    def test_rest_too(self, emulator: Local) -> None:
        # Its names come from the C library, which knows batch.localhost on some machines only; localhost it always
        # knows.
        program = """
import os
from google.cloud import batch_v1
endpoint = os.environ["GOOGLE_CLOUD_UNIVERSE_DOMAIN"]
client = batch_v1.BatchServiceClient(transport="rest", client_options={"api_endpoint": endpoint})
print([job.name for job in client.list_jobs(parent="projects/nobodys-project/locations/us-central1")])
"""
        assert run(program, emulator.tls_environment) == "[]\n"

    def test_the_providers_hooks_need_no_connection_of_their_own(self, emulator: Local) -> None:
        program = """
import asyncio
from airflow.providers.google.cloud.hooks.cloud_batch import CloudBatchAsyncHook, CloudBatchHook
jobs = CloudBatchHook().list_jobs(region="europe-west1", project_id="nobodys-project")
try:
    asyncio.run(CloudBatchAsyncHook().get_batch_job("projects/p/locations/us-central1/jobs/none"))
except Exception as error:
    print(jobs, type(error).__name__)
"""
        assert run(program, emulator.tls_environment).splitlines()[-1] == "[] NotFound"

    def test_this_library_does_not_mind_the_variables(self, emulator: Local) -> None:
        program = """
import asyncio
from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.connection import credentials, locate

async def main():
    endpoint, _ = locate("google_cloud_default")
    async with GoogleClients(endpoint, credentials(endpoint)[0]) as clients:
        print(endpoint.emulator, await clients.list_jobs("projects/p/locations/us-central1", ""))

asyncio.run(main())
"""
        both = {**emulator.environment, **emulator.tls_environment}
        assert run(program, both).splitlines()[-1] == f"{emulator.address} []"

    def test_without_the_account_no_client_is_made(self, emulator: Local) -> None:
        program = "from google.cloud import batch_v1; batch_v1.BatchServiceClient()"
        missing = {**emulator.tls_environment, "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}
        with pytest.raises(AssertionError, match=r"nowhere\.json was not found"):
            run(program, missing)


class TestOnePortForAll:
    @pytest.mark.parametrize("name", ["localhost", "batch.localhost", "logging.localhost", "127.0.0.1"])
    def test_the_certificate_is_for_this_machine_alone(self, emulator: Local, name: str) -> None:
        with connect(emulator, name) as found:
            assert found.version() == "TLSv1.3"

    def test_the_certificate_is_not_for_googles_names(self, emulator: Local) -> None:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            connect(emulator, "batch.googleapis.com")

    @pytest.mark.parametrize(("offered", "taken"), [(["h2"], "h2"), (["h2", "http/1.1"], "http/1.1"), ([], None)])
    def test_grpc_gets_http_2_and_all_others_http_1(
        self, emulator: Local, offered: list[str], taken: str | None
    ) -> None:
        with connect(emulator, "localhost", *offered) as found:
            assert found.selected_alpn_protocol() == taken

    def test_the_image_registry_answers(self, emulator: Local) -> None:
        assert ask(emulator, "/v2/") == (200, b"{}")

    def test_web_pages_get_no_answer(self, emulator: Local) -> None:
        assert ask(emulator, "/", {"Origin": "https://example.com"})[0] == 403
        assert ask(emulator, "/", {"Host": "example.com"})[0] == 403

    def test_a_lost_answer_closes_the_connection(self, own_emulator: Local) -> None:
        own_emulator.inject({"method": "ListJobs", "lost": True})
        with pytest.raises(http.client.RemoteDisconnected):
            ask(own_emulator, f"/v1/{PARENT}/jobs")

    def test_a_body_that_looks_like_tls_is_still_a_body(self, emulator: Local) -> None:
        host, _, port = emulator.address.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as plain:
            plain.sendall(b"POST /emulator/faults HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n")
            plain.sendall(b"Expect: 100-continue\r\n\r\n")
            assert plain.recv(4096).startswith(b"HTTP/1.1 100")
            plain.sendall(b"\x16\x03\x01")  # as a TLS handshake begins
            assert plain.recv(4096).startswith(b"HTTP/1.1 400")

    def test_what_is_no_tls_after_all_ends_that_connection_only(self, emulator: Local) -> None:
        host, _, port = emulator.address.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as broken:
            broken.sendall(b"\x16\x03\x01\x00\x05hello")
            assert not broken.recv(4096).startswith(b"HTTP")
        assert ask(emulator, "/v2/")[0] == 200

    def test_many_may_be_connected_at_once_where_few_open_files_are_usual(self, tmp_path: Path) -> None:
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, usual[1]))
        try:
            local = start(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        with contextlib.ExitStack() as at_end:
            at_end.callback(local.stop)
            for _ in range(80):
                one = at_end.enter_context(connect(local, "localhost", "h2"))
                one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                assert one.recv(9)[3] == 4  # gRPC's own settings

    def test_a_stop_does_not_wait_for_open_connections(self, tmp_path: Path) -> None:
        with running(tmp_path) as local, connect(local, "localhost") as idle:
            assert local.stop() == 0
            assert idle.recv(1) == b""


class TestKeysAndCertificate:
    def test_nobody_else_may_read_them(self, emulator: Local) -> None:
        folder = emulator.state_dir / "tls"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()} == dict.fromkeys(
            ["account-key.pem", "account.json", "certificate.pem", "key.pem", "roots.pem"], "0o600"
        )

    def test_a_restart_keeps_them_and_the_account_follows_the_port(self, tmp_path: Path) -> None:
        tls.prepare(tmp_path, "127.0.0.1:1111")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        tls.prepare(tmp_path, "127.0.0.1:2222")
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert json.loads(before.pop("account.json"))["universe_domain"] == "localhost:1111"
        assert json.loads(after.pop("account.json"))["universe_domain"] == "localhost:2222"
        assert before == after

    def test_a_damaged_or_foreign_pair_is_made_anew(self, tmp_path: Path) -> None:
        tls.prepare(tmp_path / "other", "127.0.0.1:1")
        for damage in (b"no certificate", (tmp_path / "other" / "certificate.pem").read_bytes()):
            tls.prepare(tmp_path / "own", "127.0.0.1:1")
            (tmp_path / "own" / "certificate.pem").write_bytes(damage)
            tls.prepare(tmp_path / "own", "127.0.0.1:1")  # would fail where key and certificate do not fit
            assert (tmp_path / "own" / "certificate.pem").read_bytes() != damage

    def test_one_that_runs_out_is_made_anew(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tls, "VALID", datetime.timedelta(days=29))
        tls.prepare(tmp_path, "127.0.0.1:1")
        monkeypatch.undo()
        tls.prepare(tmp_path, "127.0.0.1:1")
        left = x509.load_pem_x509_certificate((tmp_path / "certificate.pem").read_bytes()).not_valid_after_utc
        assert left > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=700)


class TestTheVariables:
    def test_are_printed_when_asked_for(self, emulator: Local) -> None:
        port = emulator.address.rpartition(":")[2]
        options = ["emulator", "env", "--port", port, "--state-dir", str(emulator.state_dir)]
        plain, both = (CliRunner().invoke(app, [*options, *more]).stdout for more in ([], ["--tls"]))
        assert "GOOGLE_CLOUD_UNIVERSE_DOMAIN" not in plain
        assert both.startswith(plain)
        assert f"export GOOGLE_CLOUD_UNIVERSE_DOMAIN=localhost:{port}\n" in both

    def test_are_refused_where_no_local_batch_has_been(self, tmp_path: Path) -> None:
        result = CliRunner().invoke(app, ["emulator", "env", "--tls", "--state-dir", str(tmp_path)])
        assert result.exit_code == 1
        assert "start the local Batch first" in result.output

    def test_reach_the_command_of_exec(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "airflow_batchstream", "emulator", "--port", "0", "--state-dir", str(tmp_path)]
        show = 'test -s "$GOOGLE_APPLICATION_CREDENTIALS" && echo "universe $GOOGLE_CLOUD_UNIVERSE_DOMAIN"'
        done = subprocess.run([*command, "--tls", "--exec", show], capture_output=True, text=True, timeout=60)
        port = done.stdout.splitlines()[0].rpartition(":")[2]
        assert done.stdout.splitlines()[1:] == [f"universe localhost:{port}"], done.stderr
