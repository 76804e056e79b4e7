"""The operator that runs one Batch job.

Its steps, each a call further down the house: arguments -> effective job (core) -> scan (services) -> submit or adopt
(services) -> XCom and links -> wait with logs (services) -> result or exception (core).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator, XComArg

from airflow_batchstream import connection, links, ownership
from airflow_batchstream.core.jobs import prepare, spec
from airflow_batchstream.core.jobs.secrecy import MASK
from airflow_batchstream.operators import fail_on
from airflow_batchstream.operators.deferring import Deferral, default_deferrable
from airflow_batchstream.operators.errors import final_errors
from airflow_batchstream.operators.stop import Stop

NOT_SUBMITTED = "The job was not submitted"


def without_comments(jinja_env: Any) -> Any:
    """The same environment without Jinja's comments, whose mark is in every shell's ``${#array[@]}``."""
    return jinja_env.overlay(comment_start_string="{#\0", comment_end_string="\0#}")


class CloudBatchStreamingJobOperator(BaseOperator):
    """Run a Google Cloud Batch job with Image streaming and show what its containers print, until it ends.

    The job comes as ``job``, as ``job_file``, in short form, or in both (the short form is merged into the job). It is
    checked before anything is submitted; literal values already when the Dag is parsed.

    :param job: the job as a dict (camelCase or snake_case), a ``google.cloud.batch_v1.Job``, or JSON or YAML text.
        Every string in it is a template.
    :param job_file: the same in a file: a path, relative to the Dag file's folder, or a URL that Airflow's
        ``ObjectStoragePath`` reads (``gs://bucket/job.json``). Read on the worker.
    :param image_uri: the image of the only container runnable, ``LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE``
        with a tag or digest. A tag is resolved when the job is submitted, and the job runs the digest.
    :param commands: the container's arguments (Docker's CMD), a list.
    :param entrypoint: replaces the image's entrypoint, a text.
    :param environment: environment variables of every task. Their values are never shown.
    :param volumes: container volumes, a list of ``source:target[:ro]``.
    :param machine_type: such as ``e2-standard-4``; Batch chooses one where neither this nor the job says.
    :param task_count: how many tasks run, each with its ``BATCH_TASK_INDEX``.
    :param parallelism: how many of them at once.
    :param max_run_duration: longest run of one task: ``"3600s"``, ``"1h"``, seconds or a timedelta. A task that runs
        longer ends with exit code 50005.
    :param service_account: e-mail address of the account that the job's VMs act as.
    :param labels: the job's labels, beside those that this operator sets.
    :param project_id: the project to run in; by default the connection's own.
    :param region: the region to run in, which the image's location must contain.
    :param gcp_conn_id: the Airflow connection whose credentials are used.
    :param impersonation_chain: a service account to act as, or a chain of them, the last being the one that acts.
    :param job_id: the job's id. By default it is computed from the task's attempt, so that a retry finds the job of the
        try before it. An id of your own serves one job only, for the 60 days that Batch keeps it.
    :param job_name: what ``CloudBatchSubmitJobOperator`` calls ``job_id``.
    :param enable_image_streaming: set Image streaming where a container runnable does not say; False makes it a plain
        job, whatever the job says.
    :param scan_image: look at the image before anything is submitted, refuse one that Image streaming cannot start, and
        pin a tag to its digest. If False, nothing is read; what a scan task before this one has found is known all the
        same, and refuses nothing.
    :param scan_fail_on: which answers of that look refuse the image: ``"broken"`` (default) where it breaks a rule,
        ``"unknown"`` also where that could not be told, as from a registry that cannot be reached; ``"never"`` none. An
        image that does not exist is always refused.
    :param wait_for_completion: wait for the job's end. If False, the task succeeds once the job exists.
    :param get_logs: show what the containers print.
    :param log_severity: show only lines of this severity or above (``"ERROR"`` is what went to stderr).
    :param log_limit: show so many lines at most; what is left out is said, with a link to it.
    :param polling_period_seconds: seconds between two looks at the job.
    :param timeout_seconds: longest time from the job's creation to its end; a retry that adopts the job does not extend
        it.
    :param queued_timeout_seconds: longest time from the job's creation until it runs.
    :param cancel_on_timeout: cancel the job when one of these, or ``execution_timeout``, has passed. If False, it goes
        on and costs money.
    :param cancel_on_kill: cancel the job when the task is marked, cleared or killed in the UI. A worker that shuts down
        never cancels it: the retry adopts it.
    :param deferrable: wait in the triggerer, which takes no worker slot; default is Airflow's ``default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "job",
        "job_file",
        "image_uri",
        "commands",
        "entrypoint",
        "environment",
        "volumes",
        "machine_type",
        "task_count",
        "parallelism",
        "max_run_duration",
        "service_account",
        "labels",
        "project_id",
        "region",
        "gcp_conn_id",
        "impersonation_chain",
        "job_id",
        "scan_fail_on",
        "log_severity",
        "log_limit",
        "polling_period_seconds",
        "timeout_seconds",
        "queued_timeout_seconds",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"job": "json", "environment": "json", "labels": "json"}
    template_ext: Sequence[str] = ()  # it would load every string in the job that ends in it
    operator_extra_links = (links.BatchJobLink(), links.BatchJobLogsLink())
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        job: Mapping[str, Any] | str | Any = None,
        job_file: str | XComArg | None = None,
        image_uri: str | XComArg | None = None,
        commands: Sequence[str] | XComArg | None = None,
        entrypoint: str | XComArg | None = None,
        environment: Mapping[str, str] | XComArg | None = None,
        volumes: Sequence[str] | XComArg | None = None,
        machine_type: str | XComArg | None = None,
        task_count: int | str | XComArg | None = None,
        parallelism: int | str | XComArg | None = None,
        max_run_duration: str | float | timedelta | XComArg | None = None,
        service_account: str | XComArg | None = None,
        labels: Mapping[str, str] | XComArg | None = None,
        project_id: str | XComArg | None = None,
        region: str | XComArg | None = None,
        gcp_conn_id: str = connection.DEFAULT_CONNECTION,
        impersonation_chain: str | Sequence[str] | XComArg | None = None,
        job_id: str | XComArg | None = None,
        job_name: str | XComArg | None = None,
        enable_image_streaming: bool = True,
        scan_image: bool = True,
        scan_fail_on: str | XComArg = "broken",
        wait_for_completion: bool = True,
        get_logs: bool = True,
        log_severity: str | XComArg | None = None,
        log_limit: int | str | XComArg | None = None,
        polling_period_seconds: float | str | XComArg | None = None,
        timeout_seconds: float | str | XComArg | None = None,
        queued_timeout_seconds: float | str | XComArg | None = None,
        cancel_on_timeout: bool = True,
        cancel_on_kill: bool = True,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job = prepare.plain(job)
        self.job_file = job_file
        self.image_uri = image_uri
        self.commands = commands
        self.entrypoint = entrypoint
        self.environment = environment
        self.volumes = volumes
        self.machine_type = machine_type
        self.task_count = task_count
        self.parallelism = parallelism
        self.max_run_duration = max_run_duration
        self.service_account = service_account
        self.labels = labels
        self.project_id = project_id
        self.region = region
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.job_id = prepare.one_of("job_id", job_id, "job_name", job_name)
        self.enable_image_streaming = enable_image_streaming
        self.scan_image = scan_image
        self.scan_fail_on = scan_fail_on
        self.wait_for_completion = wait_for_completion
        self.get_logs = get_logs
        self.log_severity = log_severity
        self.log_limit = log_limit
        self.polling_period_seconds = polling_period_seconds
        self.timeout_seconds = timeout_seconds
        self.queued_timeout_seconds = queued_timeout_seconds
        self.cancel_on_timeout = cancel_on_timeout
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self.console_links: dict[str, str] = {}
        self._rendered: prepare.Request | None = None
        self._stop = Stop()
        prepare.check_literals(self._request())
        self.timing(templated_ok=True)
        fail_on.check_literal("scan_fail_on", scan_fail_on, NOT_SUBMITTED)

    # -- rendering -------------------------------------------------------------------------------------------------

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        """Render, then take what must not be shown out of the fields that the Rendered Template page shows."""
        env = without_comments(jinja_env)
        super()._do_render_template_fields(parent, template_fields, context, env, seen_oids)
        if parent is self:
            self._rendered = self._request()
            self.job = prepare.shown(prepare.plain(self.job))
            if isinstance(self.environment, Mapping):
                self.environment = dict.fromkeys(self.environment, MASK)
            if isinstance(self.commands, list | tuple):
                self.commands = spec.masked({"commands": list(self.commands)})["commands"]

    def render(self, data: Any, context: Any) -> Any:
        """Render the strings of a job file, as those of ``job`` are."""
        return self.render_template(data, context, without_comments(self.get_template_env()))

    def timing(self, *, templated_ok: bool = False) -> prepare.Timing:
        """The numbers of the wait.

        :param templated_ok: what Airflow renders later is passed over.
        """
        return prepare.timing(
            templated_ok=templated_ok,
            timeout_seconds=self.timeout_seconds,
            queued_timeout_seconds=self.queued_timeout_seconds,
            polling_period_seconds=self.polling_period_seconds,
            log_limit=self.log_limit,
            log_severity=self.log_severity,
        )

    def _request(self) -> prepare.Request:
        """The arguments as they stand."""
        return prepare.Request(
            job=self.job,
            job_file=self.job_file,
            short=spec.Short(
                image_uri=self.image_uri,
                commands=self.commands,
                entrypoint=self.entrypoint,
                environment=self.environment,
                volumes=self.volumes,
                machine_type=self.machine_type,
                task_count=self.task_count,
                parallelism=self.parallelism,
                max_run_duration=self.max_run_duration,
                service_account=self.service_account,
                labels=self.labels,
            ),
            project_id=self.project_id,
            region=self.region,
            job_id=self.job_id,
            streaming=self.enable_image_streaming,
            airflow_retries=self.retries or 0,
        )

    # -- running ---------------------------------------------------------------------------------------------------

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the job and return the dict of XCom ``batch_job``.

        :raises AirflowFailException: for what would fail again: Airflow's retries are not used.
        :raises JobFailed: and the other errors of :mod:`airflow_batchstream.core.errors` that a retry can mend.
        """
        from airflow_batchstream.operators.run import JobRun

        with final_errors():
            ownership.claim(context)
            run = JobRun(self, context, self._rendered or self._request(), self._stop)
            with asyncio.Runner() as runner:
                done = runner.run(run.all())
        if isinstance(done, dict):
            return done
        return self._go_on_in_trigger(context, done)

    def _go_on_in_trigger(self, context: Any, deferral: Deferral) -> NoReturn:
        """One deferral a try: a second one would cut off the log of the first."""
        trigger = deferral.trigger(context, cancel_on_kill=self.cancel_on_kill)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=deferral.backstop())
        raise AssertionError("defer() returned")

    def execute_complete(self, context: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on where the trigger ended: the same closing block, XCom, result and errors as without it."""
        from airflow_batchstream.operators import ends

        with final_errors():
            ended = ends.from_trigger(context, event or {}, "a retry adopts it")
            return ends.conclude(self, context, ended)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Any) -> Any:
        """Come back from the trigger; also where it did not fire in time, since its triggerer was gone."""
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            from airflow_batchstream.operators.overdue import overdue

            with final_errors():
                cancel, chain = self.cancel_on_timeout, self.impersonation_chain
                asyncio.run(overdue(context, cancel=cancel, gcp_conn_id=self.gcp_conn_id, impersonation_chain=chain))
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Told to stop, by a user or because the worker goes: the wait notices, asks which, and acts."""
        self._stop.set()
