"""The job operator among ``@task`` functions: values of other tasks in every parameter, mapped, retried, in groups."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import airflow.sdk
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, task, task_group

from airflow_batchstream.core.errors import JobFailed
from airflow_batchstream.operators.images import ImageScanOperator
from airflow_batchstream.operators.jobs import CloudBatchStreamingJobOperator
from airflow_batchstream.sensors import CloudBatchJobSensor

IMAGE = os.environ.get("BATCHSTREAM_IMAGE", "us-docker.pkg.dev/my-project/examples/hello:1.0")
PLACE = {"project_id": "my-project", "region": "us-central1"}
SHELL: dict[str, Any] = {"image_uri": IMAGE, "entrypoint": "sh", "polling_period_seconds": 0.5} | PLACE


def job(task_id: str, script: str, **more: Any) -> CloudBatchStreamingJobOperator:
    """A job of one small script."""
    return CloudBatchStreamingJobOperator(task_id=task_id, commands=["-c", script], **(SHELL | more))


with DAG(dag_id="case_taskflow_xcom", schedule=None, catchup=False):

    @task
    def values() -> dict[str, Any]:
        """A value for every parameter that takes one."""
        return {
            "image_uri": IMAGE,
            "commands": ["-c", 'echo "$WORD"; echo one >&2; echo two >&2'],
            "entrypoint": "sh",
            "environment": {"WORD": "hello"},
            "volumes": ["/tmp/batchstream-taskflow:/data"],
            "machine_type": "e2-medium",
            "task_count": 2,
            "parallelism": 1,
            "max_run_duration": "1h",
            "service_account": "runner@my-project.iam.gserviceaccount.com",
            "labels": {"team": "blue"},
            "project_id": "my-project",
            "region": "us-central1",
            "gcp_conn_id": "google_cloud_default",
            "impersonation_chain": ["acts@my-project.iam.gserviceaccount.com"],
            "log_severity": "ERROR",
            "log_limit": 3,
            "polling_period_seconds": 1,
            "timeout_seconds": 600,
            "queued_timeout_seconds": 300,
        }

    @task
    def whole_job(kind: str) -> Any:
        """The job as a dict, or as text."""
        import json

        container = {"imageUri": IMAGE, "entrypoint": "sh", "commands": ["-c", f"echo from a {kind}"]}
        spec = {"taskGroups": [{"taskSpec": {"runnables": [{"container": container}]}}]}
        return spec if kind == "dict" else json.dumps(spec)

    @task
    def job_file() -> str:
        """The name of a file beside the Dag."""
        return "example_1_job.json"

    @task
    def state_of(result: dict[str, Any]) -> str:
        """What comes after takes the job's result as an argument."""
        return str(result["state"])

    given = values()
    every = CloudBatchStreamingJobOperator(task_id="every", **{key: given[key] for key in SHELL.keys() | {
        "commands", "environment", "volumes", "machine_type", "task_count", "parallelism", "max_run_duration",
        "service_account", "labels", "gcp_conn_id", "impersonation_chain", "log_severity", "log_limit",
        "timeout_seconds", "queued_timeout_seconds",
    }})  # fmt: skip
    state_of(every.output)
    for kind in ("dict", "text"):
        CloudBatchStreamingJobOperator(
            task_id=f"from_{kind}", job=whole_job.override(task_id=f"make_{kind}")(kind), **PLACE
        )
    CloudBatchStreamingJobOperator(task_id="from_file", job_file=job_file(), image_uri=given["image_uri"], **PLACE)

with DAG(dag_id="case_taskflow_mapped", schedule=None, catchup=False):
    scan = ImageScanOperator(task_id="scan", image_uri=IMAGE, region=PLACE["region"])
    job("handed_on", "echo handed on", image_uri=scan.output)

    scans = ImageScanOperator.partial(task_id="scans", region=PLACE["region"]).expand(image_uri=[IMAGE])
    pinned = "{{ ti.xcom_pull(task_ids='scans', map_indexes=0) }}"
    scans >> EmptyOperator(task_id="gate") >> job("behind_a_gate", "echo hello", image_uri=pinned, scan_image=False)

    @task
    def images(pinned: str) -> list[str]:
        """The same image under its tag and under its digest."""
        return [IMAGE, pinned]

    @task
    def commands() -> list[list[str]]:
        """One list of arguments for each of two."""
        return [["-c", f"echo {word}"] for word in ("red", "green")]

    @task
    def settings() -> list[dict[str, Any]]:
        """Several parameters at a time."""
        return [
            {"commands": ["-c", "echo $WHO"], "environment": {"WHO": "first"}, "task_count": "2"},
            {"commands": ["-c", "echo $WHO >&2"], "environment": {"WHO": "second"}, "log_severity": "ERROR"},
        ]

    @task
    def words(results: list[dict[str, Any]]) -> list[str]:
        """All results together."""
        return sorted(str(result["image"]) for result in results)

    basis = {key: value for key, value in SHELL.items() if key != "image_uri"}
    crossed = CloudBatchStreamingJobOperator.partial(task_id="crossed", **basis).expand(
        image_uri=images(scan.output), commands=commands()
    )
    words(crossed.output)
    CloudBatchJobSensor.partial(task_id="sensed", deferrable=True).expand(job=crossed.output)
    CloudBatchStreamingJobOperator.partial(task_id="settings_each", **SHELL).expand_kwargs(settings())

with DAG(dag_id="case_taskflow_no_xcom", schedule=None, catchup=False):
    job("job", "echo quiet", do_xcom_push=False)

with DAG(dag_id="case_taskflow_setup", schedule=None, catchup=False):
    before = job("before", "echo setting up").as_setup()
    fails = job("fails", "exit 4")
    after = job("after", "echo tearing down").as_teardown(setups=before)
    before >> fails >> after

with DAG(dag_id="case_taskflow_retries", schedule=None, catchup=False):
    quickly = {"retry_delay": timedelta(seconds=1)}
    job("second_time", "echo try {{ ti.try_number }}; exit {{ 3 if ti.try_number == 1 else 0 }}", retries=2, **quickly)
    job("not_at_all", "exit 3", retries=2, image_uri="{{ 'docker.io/library/busybox' }}", **quickly)

    if hasattr(airflow.sdk, "RetryPolicy"):
        from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryPolicy, RetryRule
        from airflow.sdk.definitions.retry_policy import RetryDecision

        class TemporaryFailure(RetryPolicy):
            """Retries a job whose tasks ended with 75 (``EX_TEMPFAIL``) and nothing else."""

            def evaluate(
                self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
            ) -> RetryDecision:
                """By the exit codes that the error carries."""
                if isinstance(exception, JobFailed) and exception.exit_codes == [75]:
                    return RetryDecision.retry(delay=timedelta(seconds=1), reason="temporary")
                return RetryDecision.fail(reason="for good")

            def serialize(self) -> dict[str, Any]:
                """Nothing to configure."""
                return {}

        by_class = ExceptionRetryPolicy(rules=[RetryRule(exception=JobFailed, action=RetryAction.FAIL)])
        job("policy_by_class", "exit 3", retries=3, retry_policy=by_class, **quickly)
        job(
            "policy_by_exit_code",
            "exit {{ 75 if ti.try_number == 1 else 1 }}",
            retries=5,
            retry_policy=TemporaryFailure(),
            **quickly,
        )

with DAG(dag_id="case_taskflow_branches", schedule=None, catchup=False):
    fails = job("fails", "echo reason >&2; exit 5")

    @task(trigger_rule="one_failed")
    def on_failure() -> dict[str, int]:
        """Reads what the failed job left."""
        from airflow.sdk import get_current_context

        codes: dict[str, int] = get_current_context()["ti"].xcom_pull(task_ids="fails", key="batch_job")["exit_codes"]
        return codes

    @task(trigger_rule="all_done")
    def always() -> None:
        """Runs in any case."""

    @task
    def on_success() -> None:
        """Never runs."""

    fails >> [on_failure(), always(), on_success(), job("job_on_failure", "echo mending", trigger_rule="one_failed")]

with DAG(dag_id="case_taskflow_groups", schedule=None, catchup=False):

    @task_group
    def outer(words: list[str]) -> None:
        """A group in a group, and a mapped one."""

        @task_group
        def inner() -> None:
            """As deep as it goes."""
            job("job", "echo deep")

        @task_group
        def each(word: str) -> None:
            """For each word a job, and what it left."""

            @task
            def says(result: dict[str, Any]) -> str:
                return str(result["name"])

            says(job("job", "echo $WORD", environment={"WORD": word}).output)

        inner()
        each.expand(word=words)

    @task
    def words_of() -> list[str]:
        """What is mapped over."""
        return ["a", "b"]

    outer(words_of())

with DAG(
    dag_id="case_taskflow_templates",
    schedule=None,
    catchup=False,
    params={"tasks": Param(3, type="integer"), "limit": Param("1h", type="string")},
):
    job(
        "job",
        "for i in 1 2 3 4; do echo $BATCH_TASK_INDEX; done",
        task_count="{{ params.tasks }}",
        parallelism="{{ '2' }}",
        max_run_duration="{{ params.limit }}",
        polling_period_seconds="{{ '1' }}",
        timeout_seconds="{{ params.limit }}",
        queued_timeout_seconds="30m",
        log_limit="5",
    )
