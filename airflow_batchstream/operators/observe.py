"""A sensor's look at a job of somebody else's: once, or until the wait is over. Nothing here cancels anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

try:
    from airflow.sdk.exceptions import AirflowSensorTimeout
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowSensorTimeout  # type: ignore[no-redef]

from airflow_batchstream.core.errors import ApiRefused, Interrupted, JobFailed, JobTimedOut
from airflow_batchstream.core.jobs import goal, named, outcome, prepare, spec
from airflow_batchstream.core.jobs.model import Sight
from airflow_batchstream.core.jobs.outcome import Outcome
from airflow_batchstream.core.jobs.watch import Reason, Watch
from airflow_batchstream.operators import ends
from airflow_batchstream.operators.connecting import connect
from airflow_batchstream.operators.deferring import Deferral, execution_timeout_at
from airflow_batchstream.operators.run import GLANCE_SECONDS
from airflow_batchstream.operators.scanning import adopted_subject
from airflow_batchstream.operators.stop import Stop
from airflow_batchstream.services.hub import Hub, Stopped, Subject
from airflow_batchstream.services.look import LOOK_SECONDS, first_look
from airflow_batchstream.tasklog import TaskLog

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients

ONE_LOOK = 0.2
"""Seconds that :meth:`Hub.glance` gets for one look."""
POKE_PATIENCE = 20.0
"""Seconds for which one poke waits out trouble; the next poke looks again."""
BELIEVED_WITHIN = 120.0
"""More than a refusal or an absence needs to be believed, if it lasts."""


class ObservingTask(ends.Teller, Protocol):
    """The sensor, as a look of it sees it: its arguments."""

    job: Any
    job_id: Any
    project_id: Any
    region: Any
    wait_for: Any
    get_logs: bool
    log_severity: Any
    log_limit: Any
    poll_seconds: float | None
    timeout: Any
    deferrable: bool

    @property
    def reschedule(self) -> bool:
        """Whether it gives its slot back between two looks."""


class Observation:
    """What one call of a sensor's ``execute`` or ``poke`` knows."""

    def __init__(self, sensor: ObservingTask, context: Any, stop: Stop) -> None:
        self._sensor, self._context, self._stop = sensor, context, stop
        self._log = TaskLog(sensor.log)
        self._began = time.time()

    async def whole(self) -> dict[str, Any] | Deferral:
        """Wait on this worker until the wait is over; a deferrable sensor a moment only: its trigger goes on."""
        stop, timeout = self._stop.bind(), float(self._sensor.timeout)
        async with self._looking(stop, min(LOOK_SECONDS, timeout)) as (hub, watch, subject):
            if not self._sensor.deferrable:
                return conclude(self._sensor, self._context, await hub.watch(watch, self._log, subject, stop))
            seconds = max(ONE_LOOK, min(GLANCE_SECONDS, timeout))
            watch, early = await hub.glance(watch, self._log, subject, stop, seconds)
            if early is None:
                return Deferral(watch, hub.clients.endpoint, subject)
            return conclude(self._sensor, self._context, early)

    async def once(self) -> dict[str, Any] | None:
        """One look; None if the wait is not over."""
        stop = self._stop.bind()
        try:
            async with self._looking(stop, POKE_PATIENCE) as (hub, watch, subject):
                watch, over = await hub.glance(watch, self._log, subject, stop, ONE_LOOK)
                if over is None and watch.refusals:  # the next poke would count from one again: does it last?
                    watch, over = await hub.glance(watch, self._log, subject, stop, BELIEVED_WITHIN)
                return None if over is None else conclude(self._sensor, self._context, over)
        except ApiRefused as e:
            if not e.retryable:
                raise
            self._log.say(logging.WARNING, f"{e} The next poke looks again.")
            return None

    @asynccontextmanager
    async def _looking(self, stop: asyncio.Event, patience: float) -> AsyncIterator[tuple[Hub, Watch, Subject]]:
        """A hub, and the wait for the job, which is there: XCom and links say so."""
        from airflow_batchstream.clients.google import GoogleClients

        sensor = self._sensor
        connected = await connect(sensor, self._log)
        project_id = sensor.project_id or connected.project_id
        which = named.named(sensor.job, sensor.job_id, project_id, sensor.region)
        async with GoogleClients(connected.endpoint, connected.credentials) as clients:
            sight = await self._first(clients, which, stop, patience)
            watch, subject = self._watch(clients, which, sight), _subject(which, sight)
            ends.announce(sensor, self._context, ends.so_far(watch, sight, subject))
            try:
                yield Hub(clients), watch, subject
            except Stopped as e:
                raise _interrupted(outcome.result(ends.so_far(e.watch, sight, subject))) from None

    async def _first(self, clients: GoogleClients, which: named.Named, stop: asyncio.Event, patience: float) -> Sight:
        looking = asyncio.create_task(first_look(clients, which.name, self._log.say, patience))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({looking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not looking.done():
                raise _interrupted({"name": str(which.name)})
            sight = looking.result()
        finally:
            looking.cancel()
            stopping.cancel()
        self._log.say(logging.INFO, f"Looking at the job {sight.name} (uid {sight.uid}), which is {sight.state}.")
        self._log.say(logging.INFO, f"Console: {sight.name.console_url}")
        return sight

    def _watch(self, clients: GoogleClients, which: named.Named, sight: Sight) -> Watch:
        sensor = self._sensor
        timing = prepare.timing(log_limit=sensor.log_limit, log_severity=sensor.log_severity)
        waits = not sensor.reschedule or sensor.deferrable
        return Watch(
            job=sight.name,
            uid=which.uid or sight.uid,
            created=sight.created,
            poll_seconds=clients.endpoint.poll if sensor.poll_seconds is None else max(0.1, sensor.poll_seconds),
            timeout_at=self._began + float(sensor.timeout) if waits else None,
            execution_timeout_at=execution_timeout_at(sensor, self._context),
            cancel_on_timeout=False,
            observer=True,
            wait_for=goal.read(sensor.wait_for),
            get_logs=sensor.get_logs,
            log_severity=timing.log_severity,
            log_limit=timing.log_limit,
        )


def conclude(sensor: ObservingTask, context: Any, over: Outcome) -> dict[str, Any]:
    """The closing block, XCom and result; a dead job fails the sensor for good: a retry would find it as dead."""
    try:
        return ends.conclude(sensor, context, over)
    except JobFailed as e:
        raise JobFailed(str(e), job=e.job, retryable=False) from None
    except JobTimedOut as e:
        if over.reason is Reason.TIMEOUT:
            raise AirflowSensorTimeout(str(e)) from None
        raise


def _subject(which: named.Named, sight: Sight) -> Subject:
    """What is known of the image: from the submitter's XCom, else from the job; what a scan said is on its labels."""
    image = which.image or next((uri for _, uri in spec.images(sight.spec)), "")
    streaming = bool(which.streaming if which.image else spec.streamed_images(sight.spec))
    known = adopted_subject(Subject(image, which.digest, streaming), sight)
    return replace(known, digest=known.digest or which.digest)


def _interrupted(job: dict[str, Any]) -> Interrupted:
    text = f"The task was told to stop. The job {job['name']} goes on: a sensor never cancels it."
    return Interrupted(text, job=job)
