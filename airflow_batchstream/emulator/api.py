"""Google's calls over gRPC and REST/JSON from one object: it finds the handler, speaks Google's errors, injects faults.

    gRPC ─┐
          ├─ GoogleApi.call(rpc, request) ─ faults ─ handler(request) -> response
    REST ─┘

Handlers take and give raw protobuf messages and raise :mod:`google.api_core.exceptions`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

import grpc
from google.api_core import exceptions as gax
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from airflow_batchstream.emulator.surface import Route, Rpc, surface

log = logging.getLogger(__name__)

SYSTEM_PARAMETERS = frozenset({
    "$.xgafv", "$alt", "$prettyPrint", "access_token", "alt", "callback", "fields", "key", "oauth_token", "prettyPrint",
    "quotaUser", "upload_protocol", "uploadType",
})  # fmt: skip
"""Query parameters that belong to Google's front end and not to a request (source: the discovery documents)."""

_GenericRpcHandler: Any = grpc.GenericRpcHandler  # grpcio before 1.66 has no types, later ones are generic
Handler = Callable[[Any], Awaitable[Any]]
Connection = Callable[[], None]
CONNECTION: ContextVar[Connection | None] = ContextVar("connection", default=None)
"""Closes the connection of the HTTP request being served, without an answer."""


class AnswerLost(Exception):
    """The call took effect, and its answer must not arrive."""


class Around(Protocol):
    """What may go wrong with a call: see :mod:`airflow_batchstream.emulator.faults`."""

    async def call(self, rpc: Rpc, request: Any, handler: Handler) -> Any: ...


class GoogleApi(_GenericRpcHandler):  # type: ignore[misc]
    """An ASGI app and a gRPC handler for the calls of the given handlers.

    :param handlers: service name (``google.cloud.batch.v1.BatchService``) -> object with a coroutine a call, named in
        snake case. A call without one is answered with UNIMPLEMENTED.
    :param around: makes each call, or lets it go wrong.
    """

    def __init__(self, handlers: Mapping[str, object], around: Around) -> None:
        rpcs, self.routes = surface()
        self.rpcs = {rpc.path: rpc for rpc in rpcs}
        self.around = around
        self._handlers: dict[str, Handler] = {}
        for rpc in rpcs:
            found = getattr(handlers.get(rpc.service), rpc.method, None)
            if found:
                self._handlers[rpc.path] = found

    def implemented(self, rpc: Rpc) -> bool:
        """Whether a handler answers this call."""
        return rpc.path in self._handlers

    def serves(self, verb: str, path: str) -> bool:
        """Whether a REST rule fits."""
        return any(r.verb == verb and r.pattern.fullmatch(path) for r in self.routes)

    async def call(self, rpc: Rpc, request: Any) -> Any:
        """Answer one call, whatever way it came."""
        handler = self._handlers.get(rpc.path)
        if handler is None:
            raise gax.MethodNotImplemented(f"The local Batch does not implement {rpc.name}.")
        try:
            answer = await self.around.call(rpc, request, handler)
        except (gax.GoogleAPICallError, AnswerLost):
            raise
        except Exception as error:
            log.exception("%s failed", rpc.name)
            raise gax.InternalServerError(f"The local Batch failed in {rpc.name}: {error!r}") from error
        return rpc.response() if answer is None else answer

    def service(self, handler_call_details: Any) -> Any:
        """The gRPC side."""
        rpc = self.rpcs.get(handler_call_details.method)
        if rpc is None:
            return None

        async def run(request: Any, context: Any) -> Any:
            try:
                return await self.call(rpc, request)
            except gax.GoogleAPICallError as error:
                await context.abort(error.grpc_status_code or grpc.StatusCode.UNKNOWN, error.message)
            except AnswerLost:  # what a client sees when the connection goes away under a call
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")

        return grpc.unary_unary_rpc_method_handler(run, rpc.request.FromString, rpc.response.SerializeToString)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The REST side."""
        answer: Response
        try:
            answer = Response(await self._rest(Request(scope, receive)), media_type="application/json")
        except gax.GoogleAPICallError as error:
            answer = JSONResponse(error_body(error), error.code)
        except AnswerLost:
            close = CONNECTION.get()
            if close:
                close()
            return
        await answer(scope, receive, send)

    async def _rest(self, request: Request) -> str:
        route, fields = self._match(request)
        if route.body:
            fields = await _with_body(fields, route.body, request)
        try:
            message = json_format.ParseDict(fields, route.rpc.request())
        except json_format.ParseError as error:
            raise gax.InvalidArgument(google_words(str(error))) from None
        numbers = "enum-encoding=int" in request.query_params.get("$alt", "")
        answer = await self.call(route.rpc, message)
        if len(getattr(answer, "entries", ())) > 100:  # a page of log lines takes long enough to hold up everybody else
            return await asyncio.to_thread(
                json_format.MessageToJson, answer, use_integers_for_enums=numbers, indent=None
            )
        return json_format.MessageToJson(answer, use_integers_for_enums=numbers, indent=None)

    def _match(self, request: Request) -> tuple[Route, dict[str, Any]]:
        for route in self.routes:
            found = route.pattern.fullmatch(request.url.path) if route.verb == request.method else None
            if found:
                query = request.query_params
                fields: dict[str, Any] = {
                    key: values[0] if len(values := query.getlist(key)) == 1 else values
                    for key in query
                    if key not in SYSTEM_PARAMETERS
                }
                return route, fields | found.groupdict()
        raise gax.NotFound(f"The local Batch has no method {request.method} {request.url.path}.")


def error_body(error: gax.GoogleAPICallError) -> dict[str, Any]:
    """An error as Google's REST servers write it."""
    status = error.grpc_status_code.name if error.grpc_status_code else "UNKNOWN"
    return {"error": {"code": int(error.code or 500), "message": error.message, "status": status}}


async def _with_body(fields: dict[str, Any], body: str, request: Request) -> dict[str, Any]:
    try:
        data = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise gax.InvalidArgument(f"Invalid JSON payload received. {error}") from None
    if body != "*":
        return fields | {body: data}
    if not isinstance(data, dict):
        raise gax.InvalidArgument("Invalid JSON payload received. An object is expected.")
    return data | fields


def google_words(text: str) -> str:
    """What protobuf says of JSON that does not fit, in the words of Google's REST servers."""
    unknown = re.search(r'no field named "(.+?)" at "\w+\.?(.*?)"', text)
    if unknown:
        where = f" at '{_snake(unknown[2])}'" if unknown[2] else ""
        return f'Invalid JSON payload received. Unknown name "{unknown[1]}"{where}: Cannot find field.'
    steps = re.findall(r"Failed to parse (\w+) field", text)
    reason = re.sub(r"^(?:Failed to parse \w+ field: )+", "", text).rstrip(".")
    where = f" at '{_snake('.'.join(steps))}'" if steps else ""
    return f"Invalid value{where}: {reason}."


def _snake(path: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), path)
