"""Jobs of an attempt, submitted as the operator does it, and what a service says of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from airflow_batchstream.clients.google import GoogleClients
from airflow_batchstream.core.jobs import identity, spec
from airflow_batchstream.core.jobs.model import JobName, Line, Owner, Spec
from airflow_batchstream.core.jobs.watch import News
from airflow_batchstream.services.submit import Build, Submission, Submitted, submit

PROJECT, REGION = "test-project", "europe-west4"


def script(text: str, **group: Any) -> Spec:
    """A job of one script runnable."""
    return {"taskGroups": [{"taskSpec": {"runnables": [{"script": {"text": text}}]}, **group}]}


def submission(owner: Owner, job: Spec, **more: Any) -> Submission:
    """What the operator would submit for this owner."""
    ours = {**identity.labels(owner), identity.SPEC_LABEL: identity.spec_label(job)}
    filled = spec.fill(job, streaming=False, labels=ours)
    wanted: dict[str, Any] = {"salt": "try-1", "poll_seconds": 0.1} | more
    return Submission(project_id=PROJECT, region=REGION, spec=filled, owner=owner, **wanted)


class Told:
    """Collects what a service says."""

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []
        self.printed: list[Line] = []

    def say(self, level: int, text: str) -> None:
        self.said.append((level, text))

    def news(self, items: Iterable[News]) -> None:
        self.said += [(item.level, item.text) for item in items]

    def lines(self, lines: Iterable[Line]) -> None:
        self.printed += lines

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.printed]

    @property
    def warnings(self) -> str:
        return "\n".join(text for level, text in self.said if level >= logging.WARNING)

    def __str__(self) -> str:
        return "\n".join(text for _, text in self.said)


async def submitted(
    clients: GoogleClients, owner: Owner, job: Spec, told: Told, build: Build | None = None, **more: Any
) -> Submitted:
    return await submit(clients, submission(owner, job, **more), told.say, build)


async def until_state(clients: GoogleClients, name: JobName, *states: str) -> str:
    """Wait until the job is in one of these states."""
    while (state := str((await clients.get_job(name)).state)) not in states:  # noqa: ASYNC110 - Batch pushes nothing
        await asyncio.sleep(0.1)
    return state
