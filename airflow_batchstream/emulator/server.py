"""The process: one port, all services, a clean end.

TLS     ─> itself (unix socket), and then as without
HTTP/2  ─> gRPC (unix socket) ─┐
HTTP/1.1 /v1/... /v2/entries:list ─> GoogleApi ─> Batch, Operations, Locations, Logging
         /v1/.../repositories/...  ─> Artifact Registry's API
         /v2/...                   ─> image registry
         /emulator/...             ─> faults, and what this server is
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import resource
import signal
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_batchstream.emulator.admin import admin_app
from airflow_batchstream.emulator.api import GoogleApi
from airflow_batchstream.emulator.attempt import Machine
from airflow_batchstream.emulator.batch import BatchHandlers, LocationHandlers, OperationHandlers
from airflow_batchstream.emulator.config import TLS_FOLDER, Config
from airflow_batchstream.emulator.entries import Entries
from airflow_batchstream.emulator.faults import Faults
from airflow_batchstream.emulator.images.registry import registry_app
from airflow_batchstream.emulator.images.repositories import PATH as REPOSITORIES
from airflow_batchstream.emulator.images.repositories import repositories_app
from airflow_batchstream.emulator.images.store import Store as ImageStore
from airflow_batchstream.emulator.logs import LoggingHandlers
from airflow_batchstream.emulator.ports import any_protocol
from airflow_batchstream.emulator.pulling import Images
from airflow_batchstream.emulator.runner import Runner
from airflow_batchstream.emulator.runtimes.base import Runtime
from airflow_batchstream.emulator.runtimes.rootfs import remove_tree
from airflow_batchstream.emulator.store import Store
from airflow_batchstream.emulator.tls import prepare

log = logging.getLogger(__name__)

OPEN_FILES = 65_536

Ready = Callable[[str], Awaitable[None]]
"""Called with ``HOST:PORT`` once the server answers."""


class CannotServe(Exception):
    """The server cannot start; the message says why, and what to do."""


class LocalBatch:
    """All parts of one local Batch, put together."""

    def __init__(self, config: Config, runtime: Runtime) -> None:
        self.config, self.runtime = config, runtime
        state = config.state_dir.resolve()
        state.mkdir(parents=True, exist_ok=True)
        self.lock = _lock(state)
        remove_tree(state / "scratch")  # what a server that was killed left there
        self.faults = Faults(config.seed)
        if config.faults is not None:
            self.faults.load(config.faults)
        self.store = Store(state / "jobs.sqlite")
        self.entries = Entries(state / "entries.sqlite")
        images = ImageStore(state / "registry")
        self.registry: ASGIApp = registry_app(images)
        self.repositories: ASGIApp = repositories_app(images)
        machine = Machine(runtime, Images(images, state / "layers"), state / "scratch", state / "buckets", config.grace)
        self.runner = Runner(
            self.store, self.entries, machine, self.faults,
            queued=config.queued, scheduled=config.scheduled, slots=config.slots,
        )  # fmt: skip
        handlers = {
            "google.cloud.batch.v1.BatchService": BatchHandlers(self.store, self.runner),
            "google.longrunning.Operations": OperationHandlers(self.store),
            "google.cloud.location.Locations": LocationHandlers(),
            "google.logging.v2.LoggingServiceV2": LoggingHandlers(self.entries),
        }
        self.api = GoogleApi(handlers, self.faults)
        self.admin = admin_app(self.faults, {"runtime": runtime.name, "isolated": runtime.isolated})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The HTTP/1.1 side."""
        path = scope["path"]
        app: ASGIApp = self.api
        if refusal := from_a_web_page(scope, self.config.host):
            app = PlainTextResponse(refusal, 403)
        elif path == "/" or path.startswith("/emulator"):
            app = self.admin
        elif REPOSITORIES.fullmatch(path):
            app = self.repositories
        elif (path == "/v2" or path.startswith("/v2/")) and not self.api.serves(scope["method"], path):
            app = self.registry
        await app(scope, receive, send)

    async def close(self) -> None:
        """End what runs, keep what is known."""
        await self.runner.close()
        self.entries.close()
        self.store.close()
        self.lock.close()


async def serve(config: Config, runtime: Runtime, ready: Ready, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set, or TERM or INT arrives.

    :raises CannotServe: the port is taken, or another server uses the state.
    """
    _raise_open_files()
    listener = _listen(config)
    local = LocalBatch(config, runtime)
    address = f"{config.host}:{listener.getsockname()[1]}"
    context = prepare(config.state_dir.resolve() / TLS_FOLDER, address)
    with tempfile.TemporaryDirectory(prefix="batchstream-") as folder:  # mode 0700: nobody else may connect
        grpc_socket, tls_socket = f"{folder}/grpc", f"{folder}/tls"
        rpc = grpc.aio.server(options=[("grpc.max_receive_message_length", 16 << 20)])
        rpc.add_generic_rpc_handlers((local.api,))
        rpc.add_insecure_port(f"unix:{grpc_socket}")
        await rpc.start()
        settings = uvicorn.Config(
            local, http=any_protocol(grpc_socket, tls_socket), lifespan="off", log_level="warning", access_log=False,
            timeout_graceful_shutdown=1, ws="none",
        )  # fmt: skip
        web = _Web(settings, tls_socket, context)
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        try:
            with _signals(stop):
                local.runner.resume()
                await web.up.wait()
                await ready(address)
                await stop.wait()
        finally:
            await local.runner.close()
            await rpc.stop(0.2)
            web.should_exit = True
            await serving
            await local.close()


class _Web(uvicorn.Server):  # type: ignore[misc]
    """uvicorn with a second socket for TLS, leaving the signals to us, and telling when it serves."""

    def __init__(self, config: uvicorn.Config, tls_socket: str, context: ssl.SSLContext) -> None:
        super().__init__(config)
        self.tls_socket, self.context = tls_socket, context
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        loop = asyncio.get_running_loop()
        self.servers.append(await loop.create_unix_server(self._protocol, self.tls_socket, ssl=self.context))
        self.up.set()

    def _protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state={}
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def from_a_web_page(scope: Scope, host: str) -> str:
    """Why a request is not answered: a page in somebody's browser must not run programs on this machine.

    Pages send ``Origin``; a name that was made to point here (DNS rebinding) stands in ``Host``.
    """
    headers = Headers(scope=scope)
    if "origin" in headers:
        return "The local Batch does not answer web pages."
    name = headers.get("host", "").rsplit(":", 1)[0].strip("[]")
    if is_loopback(host) and name and not is_loopback(name):
        return f"The local Batch listens on {host} and does not answer for {name}."
    return ""


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _listen(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"Port {config.port} of {config.host} cannot be used: {error.strerror}. Stop the program that has it, or"
            " give --port 0 for a free one."
        ) from error
    listener.setblocking(False)
    return listener


def _raise_open_files() -> None:
    """A connection of gRPC over TLS takes five files, and hundreds may wait at once: many machines allow 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _lock(state: Path) -> Any:
    """Only one server may use a state directory."""
    file = (state / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise CannotServe(
            f"Another local Batch uses the state in {state}. Stop it, or give another --state-dir."
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
