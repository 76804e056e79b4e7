"""Artifact Registry's API, as far as a scan asks it: which kind of repository is this? Over the registry's store.

A repository that images were pushed to is a standard one. To have another, create it as at Google, with ``mode``: it is
then said to be of that kind, and still holds what is pushed to it.

GET  /v1/projects/P/locations/L/repositories/R                 the repository
POST /v1/projects/P/locations/L/repositories?repositoryId=R    create it; the answer is an operation that is done
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from airflow_batchstream.emulator.images.store import Store, StoreError

PATH = re.compile(r"/v1/projects/([^/]+)/locations/([^/]+)/repositories(?:/([^/]+))?")
MODES = ("STANDARD_REPOSITORY", "REMOTE_REPOSITORY", "VIRTUAL_REPOSITORY")


def repositories_app(store: Store) -> Starlette:
    """The ASGI app that serves what :data:`PATH` fits."""

    async def get(request: Request) -> JSONResponse:
        name, home = _names(request.scope["path"])
        found = await asyncio.to_thread(_settings, store, home)
        if found is None:
            return _error(404, "NOT_FOUND", f"Repository {name} does not exist.")
        return JSONResponse(_repository(name, found))

    async def create(request: Request) -> JSONResponse:
        chosen = request.query_params.get("repositoryId", "")
        name, home = _names(f"{request.scope['path']}/{chosen}")
        try:
            wanted = json.loads(await request.body() or b"{}")
            if not isinstance(wanted, dict) or wanted.get("mode", MODES[0]) not in MODES:
                raise ValueError(f"an object with a mode is expected, one of {', '.join(MODES)}")
            await asyncio.to_thread(store.set_up, home, json.dumps(wanted).encode())
        except (ValueError, StoreError) as error:
            return _error(400, "INVALID_ARGUMENT", f"Repository {name}: {error}")
        place = name.rpartition("/repositories/")[0]
        return JSONResponse(
            {"name": f"{place}/operations/{chosen}", "done": True, "response": _repository(name, wanted)}
        )

    return Starlette(
        routes=[Route("/{any:path}", get, methods=["GET"]), Route("/{any:path}", create, methods=["POST"])]
    )


def _names(path: str) -> tuple[str, str]:
    """The resource's name, and what the store calls it."""
    found = PATH.fullmatch(path)
    project, place, repository = (found[1], found[2], found[3] or "-") if found else ("-", "-", "-")
    home = f"{place}-docker.pkg.dev/{project.replace(':', '/')}/{repository}"
    return f"projects/{project}/locations/{place}/repositories/{repository}", home


def _settings(store: Store, home: str) -> dict[str, Any] | None:
    try:
        found = store.settings(home)
    except StoreError:
        return None
    return None if found is None else json.loads(found)


def _repository(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"format": "DOCKER", "mode": MODES[0], "registryUri": _uri(name)} | settings | {"name": name}


def _uri(name: str) -> str:
    """``us-docker.pkg.dev/p/r``, as the API tells it."""
    _, project, _, place, _, repository = name.split("/")
    return f"{place}-docker.pkg.dev/{project}/{repository}"


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": status, "status": code, "message": message}}, status)
