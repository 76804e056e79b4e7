"""Which calls Google's services have, and how they look on the wire: read off Google's own installed clients.

Nothing here is written by hand but Logging's REST rules, which its client does not carry. Constructing a generated
async transport over a channel that only records yields every gRPC path with its two message types; the REST transport's
base classes yield verb, URI and body. Both are private corners of the clients: ``tests/emulator/test_surface.py`` pins
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio
from google.cloud.batch_v1.services.batch_service.transports import rest_base
from google.cloud.batch_v1.services.batch_service.transports.grpc_asyncio import BatchServiceGrpcAsyncIOTransport
from google.cloud.logging_v2.services.logging_service_v2.transports.grpc_asyncio import (
    LoggingServiceV2GrpcAsyncIOTransport,
)
from google.protobuf import descriptor_pool, message_factory

LOGGING_RULES: dict[str, list[dict[str, str]]] = {
    "ListLogEntries": [{"method": "post", "uri": "/v2/entries:list", "body": "*"}],
    "ListLogs": [{"method": "get", "uri": "/v2/{parent=projects/*}/logs"}],
}
"""The REST rules of Cloud Logging that its Python client does not carry (source: its discovery document)."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call of a Google service.

    :param path: gRPC's path, ``/google.cloud.batch.v1.BatchService/GetJob``.
    :param request: the protobuf class of what comes in; ``response`` of what goes out.
    """

    path: str
    request: type[Any]
    response: type[Any]

    @property
    def name(self) -> str:
        """``GetJob``."""
        return self.path.rsplit("/", 1)[1]

    @property
    def service(self) -> str:
        """``google.cloud.batch.v1.BatchService``."""
        return self.path.strip("/").split("/")[0]

    @property
    def method(self) -> str:
        """The handler's name, ``get_job``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


@dataclass(frozen=True, slots=True)
class Route:
    """One REST rule of a call.

    :param body: the request's field that the HTTP body fills, ``*`` for the whole request, empty for none.
    """

    verb: str
    uri: str
    body: str
    rpc: Rpc
    pattern: re.Pattern[str]


_Channel: Any = grpc.aio.Channel


class Recorder(_Channel):  # type: ignore[misc]
    """A channel that calls nothing: a generated transport constructed over it tells every path and its types."""

    def __init__(self) -> None:
        self.rpcs: list[Rpc] = []
        self._unary_unary_interceptors: list[Any] = []  # the transports append their logging interceptor here

    def unary_unary(
        self, path: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Callable[..., None]:
        service, name = path.strip("/").split("/")
        try:  # protobuf modules (Operations, Locations, Logging) know their services ...
            method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
            types = [message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type)]
        except KeyError:  # ... proto-plus modules do not; the stub's own (de)serialisers do
            types = [_message_of(f) for f in (request_serializer, response_deserializer)]
        self.rpcs.append(Rpc(path, *types))
        return _nothing

    def unary_stream(self, *_: Any, **__: Any) -> Callable[..., None]:
        return _nothing

    stream_unary = stream_stream = unary_stream

    def get_state(self, try_to_connect: bool = False) -> None: ...

    async def _none(self, *_: Any) -> None: ...

    close = channel_ready = wait_for_state_change = __aenter__ = __aexit__ = _none


def _nothing(*_: Any, **__: Any) -> None: ...


def _message_of(serializer: Any) -> type[Any]:
    owner = serializer.__self__
    pb = getattr(owner, "pb", None)
    return pb() if pb else owner  # type: ignore[no-any-return]


def surface() -> tuple[list[Rpc], list[Route]]:
    """All calls of Batch, Operations, Locations and Logging, and their REST rules.

    Operations has one gRPC path for all services: Batch comes first, so it has it.
    """
    rpcs: dict[str, Rpc] = {}
    routes: list[Route] = []
    batch_rules = _rules_of(rest_base._BaseBatchServiceRestTransport)
    for transport, rules in (
        (BatchServiceGrpcAsyncIOTransport, batch_rules),
        (LoggingServiceV2GrpcAsyncIOTransport, LOGGING_RULES),
    ):
        recorder = Recorder()
        transport(channel=recorder)
        for rpc in recorder.rpcs:
            if rpc.path not in rpcs:
                rpcs[rpc.path] = rpc
                routes += _routes(rpc, rules.get(rpc.name, ()))
    return list(rpcs.values()), routes


def _rules_of(base: Any) -> dict[str, list[dict[str, str]]]:
    """``{"GetJob": [{"method", "uri", "body"}]}`` from a generated REST base class."""
    inner = {name.removeprefix("_Base"): getattr(base, name) for name in vars(base) if name.startswith("_Base")}
    return {name: cls._get_http_options() for name, cls in inner.items()}


def _routes(rpc: Rpc, rules: Iterable[Mapping[str, str]]) -> Iterator[Route]:
    for rule in rules:
        yield Route(rule["method"].upper(), rule["uri"], rule.get("body", ""), rpc, _pattern(rule["uri"]))


def _pattern(uri: str) -> re.Pattern[str]:
    """``/v1/{name=projects/*/jobs/*}:cancel`` -> an expression with one group a field."""
    parts = re.split(r"\{(\w+)(?:=([^}]*))?\}", uri)
    regex = re.escape(parts[0])
    for name, template, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        inner = re.escape(template or "*").replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
        regex += f"(?P<{name}>{inner}){re.escape(literal)}"
    return re.compile(regex)
