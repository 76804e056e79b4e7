"""An operator's arguments -> the checked job.

Where :mod:`schema`, :mod:`spec` and :mod:`rules` meet; called twice: when the Dag is parsed, for what is literal then,
and on the worker, for everything, before the first call to Google.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict, broken
from airflow_batchstream.core.jobs import protos, rules, schema, spec
from airflow_batchstream.core.jobs.lines import SEVERITIES
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.places import as_written


@dataclass(frozen=True, slots=True)
class Request:
    """What the user wants.

    :param job: the job, in any form that :func:`plain` gives; None where it is in a file or in short form.
    :param streaming: ``enable_image_streaming``.
    :param airflow_retries: the task's own retries, which multiply with the job's.
    """

    job: Any
    job_file: Any
    short: spec.Short
    project_id: Any
    region: Any
    job_id: Any
    streaming: bool = True
    airflow_retries: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """The numbers of a wait, each None where the user does not say; seconds."""

    timeout: float | None = None
    queued_timeout: float | None = None
    poll: float | None = None
    log_limit: int | None = None
    log_severity: str = ""


def plain(job: Any) -> Any:
    """A job argument as data: text is parsed, a message of Google's becomes a dict. A text that is one template stays.

    :raises InvalidInput: text that is neither JSON nor YAML, with line and column.
    """
    if not isinstance(job, str):
        return protos.plain(job)
    text = job.strip()
    if text.startswith(("{{", "{%")) and text.endswith(("}}", "%}")):
        return job
    return schema.parse_text(job, source="job")


def one_of(name: str, value: Any, other: str, other_value: Any) -> Any:
    """The value of an argument that has two names.

    :raises InvalidInput: if both are given.
    """
    if value is not None and other_value is not None:
        raise InvalidInput(
            [_refused(other, other_value, f"{name} and {other} are both given.", "Keep one; they mean the same.")]
        )
    return other_value if value is None else value


def parsed(text: str, source: str) -> Any:
    """A job file's text as data.

    :raises InvalidInput: text that is neither JSON nor YAML, with line and column.
    """
    return schema.parse_text(text, source=source)


def check_literals(request: Request) -> None:
    """Refuse what is wrong whatever the templates and XComs will hold.

    :raises InvalidInput: with every rule that literal values break.
    """
    found = [_two_jobs()] if request.job is not None and request.job_file is not None else []
    if request.job_file is None and not schema.templated(request.job):
        built, more = spec.build(request.job, request.short, templated_ok=True)
        found += more
        if built and not broken(more):
            found += rules.check(
                built,
                project_id=request.project_id,
                region=request.region,
                job_id=request.job_id,
                streaming=request.streaming,
                templated_ok=True,
            )
    if broken(found):
        raise InvalidInput([as_written(finding, request.short) for finding in broken(found)])


def named(request: Request) -> Request:
    """The request with names as texts: native rendering makes a number of a project's number.

    :raises InvalidInput: for what is neither.
    """
    found: list[Finding] = []
    texts: dict[str, Any] = {}
    for name in ("project_id", "region", "job_id"):
        value = getattr(request, name)
        if isinstance(value, int) and not isinstance(value, bool):
            texts[name] = str(value)
        elif value is not None and not isinstance(value, str):
            says = f"{value!r} stands where a text belongs."
            found.append(_refused(name, value, says, "Write a text, or a template that gives one."))
    if found:
        raise InvalidInput(found)
    return replace(request, **texts)


def effective(request: Request, *, path: str = "job") -> tuple[Spec, list[Finding]]:
    """The job that will be sent, but for what only the attempt knows (digests, labels), and what to warn about.

    :param request: rendered, the file read into ``job``.
    :param path: what the job is called in findings: ``job``, or the file's name.
    :raises InvalidInput: with every rule that is broken.
    """
    job = plain(request.job)
    built, found = spec.build(job, request.short, path=path)
    if not broken(found):
        found += rules.check(
            built,
            project_id=request.project_id,
            region=request.region,
            job_id=request.job_id,
            streaming=request.streaming,
            airflow_retries=request.airflow_retries,
            path=path,
        )
    found = [as_written(finding, request.short, path) for finding in found]
    if broken(found):
        raise InvalidInput(broken(found))
    return built, found


def shown(job: Any) -> Any:
    """A job for the Rendered Template page: canonical, without any environment's values."""
    return spec.masked(schema.conform(job, templated_ok=True)[0]) if job is not None else None


def timing(*, templated_ok: bool = False, **arguments: Any) -> Timing:
    """Read the numbers of a wait, which may come as text from a template.

    :param templated_ok: the Dag is being parsed: what Airflow renders later is passed over.
    :raises InvalidInput: for what is no duration, no count or no severity.
    """
    found: list[Finding] = []
    if templated_ok:
        arguments = {name: value for name, value in arguments.items() if _literal(value)}
    read = Timing(
        timeout=_seconds("timeout_seconds", arguments.get("timeout_seconds"), found),
        queued_timeout=_seconds("queued_timeout_seconds", arguments.get("queued_timeout_seconds"), found),
        poll=_seconds("polling_period_seconds", arguments.get("polling_period_seconds"), found),
        log_limit=_count("log_limit", arguments.get("log_limit"), found),
        log_severity=_severity(arguments.get("log_severity"), found),
    )
    if found:
        raise InvalidInput(found)
    return read


def _literal(value: Any) -> bool:
    return isinstance(value, str | int | float | timedelta) and not schema.templated(value)


def _seconds(name: str, value: Any, found: list[Finding]) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = schema.duration(value)
    except ValueError as e:
        found.append(_refused(name, value, f"{value!r} {e}.", 'Give seconds, "90s", "1h" or a timedelta.'))
        return None
    if seconds <= 0:
        found.append(_refused(name, value, f"{value!r} is not above zero.", "Leave it out for no limit."))
    return seconds


def _count(name: str, value: Any, found: list[Finding]) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,18}", str(value).strip()):
        found.append(_refused(name, value, f"{value!r} is no whole number.", "Leave it out for no limit."))
        return None
    return int(value)


def _severity(value: Any, found: list[Finding]) -> str:
    if not value:
        return ""
    name = str(value).upper()
    if name not in SEVERITIES:
        says = f"{value!r} is none of {', '.join(SEVERITIES)}."
        found.append(_refused("log_severity", value, says, 'Write "ERROR" for what went to stderr.'))
    return name


def _refused(name: str, value: Any, says: str, remedy: str) -> Finding:
    return Finding("argument", Verdict.BROKEN, name, value, says, remedy)


def _two_jobs() -> Finding:
    return _refused("job_file", None, "job and job_file are both given.", "Keep one; the short form goes with either.")
