"""Does the job make sense to Batch, and to Image streaming? Asked before anything is submitted.

Third station of a job: :mod:`spec` -> **rules** -> the scan of the image. Each rule is a small function from the
spec to findings, in a module for its subject; here is only their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from airflow_batchstream.core.findings import Finding
from airflow_batchstream.core.jobs import machine_rules, name_rules, streaming_rules, task_rules
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.rulebook import Asked, without_templates

RULES: tuple[Callable[[Spec, Asked], Iterator[Finding]], ...] = (
    name_rules.project,
    name_rules.region,
    name_rules.job_id,
    task_rules.one_group,
    task_rules.one_of,
    streaming_rules.something_to_stream,
    streaming_rules.images,
    streaming_rules.image_places,
    streaming_rules.hidden_containers,
    streaming_rules.ignored_fields,
    streaming_rules.no_mixing,
    task_rules.counts,
    task_rules.retries,
    task_rules.run_times,
    task_rules.volumes,
    machine_rules.instances,
    machine_rules.gpus,
    machine_rules.network,
    machine_rules.places,
    machine_rules.account,
    task_rules.logs,
    name_rules.labels,
    task_rules.size,
)


def check(
    spec: Spec,
    *,
    project_id: str | None,
    region: str | None,
    job_id: str | None,
    streaming: bool,
    airflow_retries: int = 0,
    templated_ok: bool = False,
    path: str = "job",
) -> list[Finding]:
    """What the rules say of a job, before our labels are in it; what holds is not mentioned.

    :param spec: canonical, as :func:`~airflow_batchstream.core.jobs.spec.build` makes it.
    :param job_id: the id that the user chose; None or empty for a computed one.
    :param streaming: the argument ``enable_image_streaming``: False makes a plain job, whatever the spec says.
    :param airflow_retries: of the Airflow task; they multiply with Batch's own.
    :param templated_ok: the Dag is being parsed: templates and what is missing are passed over, the rest is checked.
    :param path: what the job is called in findings.
    :return: BROKEN and WARNING findings, in the order of :data:`RULES`.
    """
    asked = Asked(project_id, region, job_id, streaming, airflow_retries, templated_ok)
    looked_at = without_templates(spec) if templated_ok else spec
    found = [finding for rule in RULES for finding in rule(looked_at, asked)]
    return [_under(path, finding) for finding in found] if path != "job" else found


def _under(path: str, finding: Finding) -> Finding:
    inside = finding.path == "job" or finding.path.startswith("job.")
    return replace(finding, path=path + finding.path.removeprefix("job")) if inside else finding
