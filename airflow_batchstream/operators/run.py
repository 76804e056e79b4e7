"""One attempt at one job: the steps of ``execute``, in order.

Prepare (arguments -> checked job); adopt the job of an earlier try, or scan (tags -> digests) and submit; say so in
XCom and links, wait, conclude.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow.sdk.log import mask_secret

from airflow_batchstream import connection, ownership
from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import BatchStreamError, Interrupted
from airflow_batchstream.core.jobs import identity, outcome, prepare, spec
from airflow_batchstream.core.jobs.deadlines import EXECUTION_MARGIN
from airflow_batchstream.core.jobs.model import Sight, Spec
from airflow_batchstream.core.jobs.watch import Watch
from airflow_batchstream.operators import ends, handed_on, scanning
from airflow_batchstream.operators.deferring import Deferral, execution_timeout_at
from airflow_batchstream.operators.fail_on import checked
from airflow_batchstream.operators.stop import Stop
from airflow_batchstream.services.hub import Hub, Stopped, Subject
from airflow_batchstream.services.submit import GIVE_UP_SECONDS, Submission, Submitted, submit
from airflow_batchstream.tasklog import TaskLog

if TYPE_CHECKING:
    from airflow_batchstream.clients.google import GoogleClients
    from airflow_batchstream.core.images.scanned import FailOn

T = TypeVar("T")

GLANCE_SECONDS = 5.0
"""So long a deferrable operator waits on the worker: most that is wrong with a job shows at once, and a deferral that
ends at once can make the scheduler fail the task."""
LAST_MOMENT_SECONDS = 0.5
ASK_SECONDS = 1.2
CANCEL_SECONDS = 2.0
"""Together less than the four seconds between Airflow's word to stop and its kill."""


class JobTask(ends.Teller, Protocol):
    """The operator, as a run of it sees it: what its arguments besides the job say."""

    gcp_conn_id: str
    impersonation_chain: Any
    scan_image: bool
    scan_fail_on: Any
    wait_for_completion: bool
    get_logs: bool
    cancel_on_timeout: bool
    cancel_on_kill: bool
    deferrable: bool

    def timing(self) -> prepare.Timing:
        """The numbers of the wait."""

    def render(self, data: Any, context: Any) -> Any:
        """Render the strings of a job file."""


class JobRun:
    """What one call of ``execute`` knows.

    :param request: the operator's arguments, rendered.
    """

    def __init__(self, operator: JobTask, context: Any, request: prepare.Request, stop: Stop) -> None:
        self._op, self._context, self._stop = operator, context, stop
        self._log = TaskLog(operator.log)
        self._request = prepare.named(request)
        self._timing = operator.timing()
        self._fail_on: FailOn = "broken"
        self._known: list[scanning.Known] = []

    async def all(self) -> dict[str, Any] | Deferral:
        """Every step; returns the result, or what a trigger needs to go on."""
        from airflow_batchstream.clients.google import GoogleClients

        stop = self._stop.bind()
        endpoint, credentials = await self._connect()
        job = await self._unless_stopped(self._prepare(), stop)
        async with GoogleClients(endpoint, credentials) as clients:
            submitted = await self._unless_stopped(self._submit(clients, job, credentials), stop)
            subject = self._subject(job)
            if submitted.adopted:
                subject = scanning.adopted_subject(subject, submitted.sight)
            self._announce(submitted, subject)
            if not self._op.wait_for_completion:
                self._log.say(logging.INFO, "wait_for_completion is False: the task ends here, and the job goes on.")
                watch = self._watch(submitted.sight, endpoint)
                return outcome.result(ends.so_far(watch, submitted.sight, subject))
            return await self._wait(clients, submitted.sight, subject, stop)

    @staticmethod
    async def _unless_stopped(work: Coroutine[Any, Any, T], stop: asyncio.Event) -> T:
        """The work's result. Told to stop, it gets a moment to end: a job being created is better known than lost."""
        doing, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({doing}, timeout=LAST_MOMENT_SECONDS)
            if not doing.done():
                raise Interrupted("The worker was told to stop before the job was known to exist.", job={})
            return doing.result()
        finally:
            doing.cancel()
            stopping.cancel()

    # -- before anything is submitted ------------------------------------------------------------------------------

    async def _connect(self) -> tuple[Endpoint, Any]:
        """Endpoint and credentials; the project of the connection where the user names none."""
        op = self._op
        endpoint, project = await asyncio.to_thread(connection.locate, op.gcp_conn_id, op.impersonation_chain)
        if endpoint.emulator:
            self._log.say(logging.INFO, f"Using the local Batch at {endpoint.emulator}, not Google Cloud.")
            await asyncio.to_thread(connection.reach, endpoint)
        credentials, own_project = await asyncio.to_thread(connection.credentials, endpoint)
        self._request = replace(self._request, project_id=self._request.project_id or project or own_project)
        return endpoint, credentials

    async def _prepare(self) -> Spec:
        """The job that is wanted: all but what a look at its images adds."""
        request, path = self._request, "job"
        if request.job_file:
            request, path = await asyncio.to_thread(self._read_file, request)
        self._fail_on = checked("scan_fail_on", self._op.scan_fail_on, "The job was not submitted")
        job, warnings = prepare.effective(request, path=path)
        for secret in spec.secrets(job):
            mask_secret(secret)
        for warning in warnings:
            self._log.say(logging.WARNING, str(warning))
        owner = ownership.owner_of(self._context)
        ours = {identity.SPEC_LABEL: identity.spec_label(job), **identity.labels(owner)}
        job = spec.fill(job, streaming=request.streaming, labels=ours)
        if not spec.streamed_images(job):
            why = "The job's own enableImageStreaming" if request.streaming else "enable_image_streaming"
            self._log.say(logging.INFO, f"{why} is false: a plain job, its images are downloaded first.")
        return job

    def _read_file(self, request: prepare.Request) -> tuple[prepare.Request, str]:
        """The job file's text as the job; strings in it are rendered after it was parsed."""
        from airflow_batchstream.operators.files import read_text

        name = str(request.job_file)
        data = prepare.parsed(read_text(name, self._op), name)
        return replace(request, job=self._op.render(data, self._context)), Path(name).name

    async def _build(self, job: Spec, endpoint: Endpoint, credentials: Any) -> Spec:
        """The job that is sent: digests in place of tags, and labels that say what a look at its images said."""
        region, fail_on = self._request.region, self._fail_on if self._op.scan_image else None
        handed = await asyncio.to_thread(handed_on.handed_on, self._context, job, region=region, fail_on=fail_on)
        if fail_on:
            self._known = await scanning.scanned(
                job,
                region=region,
                endpoint=endpoint,
                credentials=credentials,
                fail_on=fail_on,
                log=self._log,
                handed=handed,
            )
        else:
            self._known = scanning.as_handed_on(handed, self._log)
        scanning.warn_of_small_disks(job, self._known, self._log)
        subject = self._subject(job)
        job = spec.with_images(job, {one.asked: one.pinned for one in self._known if one.pinned})
        told = identity.scan_labels(identity.Scanned(subject.digest, subject.verdict, subject.compressed_bytes))
        job = spec.fill(job, streaming=self._request.streaming, labels=told)
        self._show(job)
        return job

    def _subject(self, job: Spec) -> Subject:
        """What is known of the job's image; ``job`` as it is before its tags are replaced."""
        return scanning.subject_of(job, self._known, streaming=bool(spec.streamed_images(job)))

    def _show(self, job: Spec) -> None:
        """The effective job, folded in the UI."""
        self._log.say(logging.INFO, "::group::The job that is sent to Batch")
        self._log.say(logging.INFO, json.dumps(spec.masked(job), indent=2, ensure_ascii=False))
        self._log.say(logging.INFO, "::endgroup::")

    # -- the job ---------------------------------------------------------------------------------------------------

    async def _submit(self, clients: GoogleClients, job: Spec, credentials: Any) -> Submitted:
        request, ti = self._request, self._context["ti"]
        wanted = Submission(
            project_id=request.project_id,
            region=request.region,
            spec=job,
            owner=ownership.owner_of(self._context),
            salt=str(ti.id),
            job_id=request.job_id or "",
            cancel_lost=self._op.cancel_on_kill,
            poll_seconds=min(3.0, clients.endpoint.poll),
            give_up_after=self._patience(),
        )
        build = partial(self._build, job, clients.endpoint, credentials)
        return await submit(clients, wanted, self._log.say, build)

    def _patience(self) -> float:
        """Seconds for which an outage is waited out: Airflow's own timer would end the task without a word of ours."""
        strikes_at = execution_timeout_at(self._op, self._context)
        left = GIVE_UP_SECONDS if strikes_at is None else strikes_at - EXECUTION_MARGIN - time.time()
        return max(0.0, min(GIVE_UP_SECONDS, left))

    def _announce(self, submitted: Submitted, subject: Subject) -> None:
        """Say which job it is, in the log, in XCom and as links, as soon as it exists."""
        sight = submitted.sight
        if not submitted.adopted:
            self._log.say(logging.INFO, f"Created the job {sight.name} (uid {sight.uid}).")
            self._show_changes(spec.changes(submitted.spec, sight.spec))
        self._log.say(logging.INFO, f"Console: {sight.name.console_url}")
        watch = Watch(job=sight.name, uid=sight.uid, created=sight.created)
        ends.announce(self._op, self._context, ends.so_far(watch, sight, subject))

    def _show_changes(self, changes: list[str]) -> None:
        """What Batch made of the job: what it filled in, folded; what it changed, plainly."""
        filled = [change for change in changes if spec.FILLED in change]
        for change in changes:
            if change not in filled:
                self._log.say(logging.WARNING, f"Batch changed {change}")
        if filled:
            self._log.say(logging.INFO, "::group::What Batch filled in")
            self._log.table(filled)
            self._log.say(logging.INFO, "::endgroup::")

    def _watch(self, sight: Sight, endpoint: Endpoint) -> Watch:
        timing, created = self._timing, sight.created or time.time()
        return Watch(
            job=sight.name,
            uid=sight.uid,
            created=created,
            poll_seconds=timing.poll or endpoint.poll,
            timeout_at=created + timing.timeout if timing.timeout else None,
            execution_timeout_at=execution_timeout_at(self._op, self._context),
            queued_until=created + timing.queued_timeout if timing.queued_timeout else None,
            cancel_on_timeout=self._op.cancel_on_timeout,
            get_logs=self._op.get_logs,
            log_severity=timing.log_severity,
            log_limit=timing.log_limit,
        )

    async def _wait(
        self, clients: GoogleClients, sight: Sight, subject: Subject, stop: asyncio.Event
    ) -> dict[str, Any] | Deferral:
        watch = self._watch(sight, clients.endpoint)
        hub = Hub(clients)
        try:
            if self._op.deferrable:
                watch, early = await hub.glance(watch, self._log, subject, stop, GLANCE_SECONDS)
                if early is None:
                    return Deferral(watch, clients.endpoint, subject)
                return ends.conclude(self._op, self._context, early)
            return ends.conclude(self._op, self._context, await hub.watch(watch, self._log, subject, stop))
        except Stopped as e:
            raise await self._stopped(clients, e.watch, sight, subject) from None

    async def _stopped(self, clients: GoogleClients, watch: Watch, sight: Sight, subject: Subject) -> BatchStreamError:
        """Told to stop: by a user, whose kill cancels the job, or because the worker goes, which never does."""
        claim = await ownership.ask(self._context["ti"], within=ASK_SECONDS)
        job = outcome.result(ends.so_far(watch, sight, subject))
        name = watch.job
        if claim is not ownership.Claim.LOST:
            why = (
                ""
                if claim is ownership.Claim.MINE
                else " (Airflow could not be asked whether somebody killed the task)"
            )
            return Interrupted(
                f"The worker was told to stop{why}. The job {name.job_id} lives on; a retry adopts it. "
                f"{name.console_url}",
                job=job,
            )
        if not self._op.cancel_on_kill:
            return Interrupted(
                f"The task was killed. cancel_on_kill is False: the job {name.job_id} lives on. {name.console_url}",
                job=job,
            )
        from airflow_batchstream.clients.google import CallFailed

        try:
            request_id = identity.request_id(f"{name}/cancel", str(self._context["ti"].id))
            await asyncio.wait_for(clients.cancel_job(name, request_id), CANCEL_SECONDS)
        except (CallFailed, TimeoutError) as e:
            text = f"The task was killed, but the job {name.job_id} could not be cancelled ({e}). {name.console_url}"
            self._log.say(logging.ERROR, text)
            return Interrupted(text, job=job)
        self._log.say(logging.WARNING, f"The task was killed: the job {name.job_id} is being cancelled.")
        return Interrupted(f"The task was killed: the job {name.job_id} is being cancelled.", job=job)
