"""``/emulator``: what this server is, and the faults that it injects. Not part of Google's APIs.

GET    /emulator                 version and runtime
GET    /emulator/faults          all, with how often each has happened
POST   /emulator/faults          one fault or a list of them; answers their numbers
DELETE /emulator/faults[/ID]     one, or all
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from airflow_batchstream import __version__
from airflow_batchstream.emulator.faults import FaultError, Faults, faults_from


def admin_app(faults: Faults, about: Mapping[str, object]) -> Starlette:
    """The ASGI app."""

    async def root(_: Request) -> JSONResponse:
        return JSONResponse({"name": "batchstream local Batch", "version": __version__, **about})

    async def listed(_: Request) -> JSONResponse:
        return JSONResponse({"faults": faults.as_list()})

    async def added(request: Request) -> JSONResponse:
        try:
            found = faults_from(await request.body())
        except FaultError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"ids": [faults.add(f) for f in found]})

    async def removed(request: Request) -> JSONResponse:
        number = request.path_params.get("number")
        faults.remove(number)
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/", root),
            Route("/emulator", root),
            Route("/emulator/faults", listed, methods=["GET"]),
            Route("/emulator/faults", added, methods=["POST"]),
            Route("/emulator/faults", removed, methods=["DELETE"]),
            Route("/emulator/faults/{number:int}", removed, methods=["DELETE"]),
        ]
    )
