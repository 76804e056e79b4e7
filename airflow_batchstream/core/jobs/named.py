"""Which job is meant: what another task left in XCom, a job's full name, or its id with project and region."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.model import JobName
from airflow_batchstream.core.jobs.scalars import templated

LEAD = "The arguments are wrong"
_MOST_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Named:
    """A job of somebody else's.

    :param uid: where XCom tells it: a later job of the same name is then known to be another.
    :param image: with ``digest`` and ``streaming``, what XCom tells of the image.
    """

    name: JobName
    uid: str = ""
    image: str = ""
    digest: str = ""
    streaming: bool | None = None


def named(job: Any, job_id: Any = None, project_id: Any = None, region: Any = None) -> Named:
    """The job that the arguments name, rendered.

    :param job: the dict of XCom ``batch_job``, or a full name; None where ``job_id`` is given.
    :raises InvalidInput: if they name no job, or two.
    """
    if job is None and not job_id:
        raise _invalid("job", job, "no job is named.", f"Give {_FORMS}.")
    if job is not None and job_id:
        raise _invalid("job_id", job_id, "job and job_id are both given.", "Keep one.")
    if job_id:
        return Named(_by_id(job_id, project_id, region))
    plain = _from_text(job) if isinstance(job, str) else job
    if isinstance(plain, str):
        return Named(_by_name(plain, job))
    if isinstance(plain, Mapping):
        return _from_xcom(plain)
    if isinstance(plain, Sequence):
        says = f"is a list of {len(plain)}, and one job is waited for."
        raise _invalid("job", job, says, "Map over it: .partial(...).expand(job=...).")
    raise _invalid("job", job, f"is a Python {type(job).__name__}.", f"Give {_FORMS}.")


def check_literals(job: Any, job_id: Any) -> None:
    """Refuse what is wrong whatever templates and XComs will hold.

    :raises InvalidInput: if no job is named, or two, or a literal name is none.
    """
    written = isinstance(job, str) and not templated(job)
    if job is None or job_id or written:
        named(job, job_id, "later", "later")


_FORMS = (
    "job= (another task's output, or projects/PROJECT/locations/REGION/jobs/JOB), "
    "or job_id= with project_id= and region="
)


def _by_id(job_id: Any, project_id: Any, region: Any) -> JobName:
    missing = {"project_id": project_id, "region": region}
    for path, value in missing.items():
        if not value:
            raise _invalid(path, value, "a job_id alone names no job.", f"Give {path}= too, or the full name as job=.")
    return JobName(str(project_id), str(region), str(job_id))


def _by_name(text: str, given: Any) -> JobName:
    if text.strip() in ("", "None"):
        says = "the template found nothing: the other task has pushed no job."
        raise _invalid("job", given, says, "Check its task id, and that it ran before.")
    try:
        return JobName.parse(text.strip())
    except ValueError as e:
        raise _invalid("job", given, f"{e}.", "") from None


def _from_text(text: str) -> Any:
    """A dict or list that a template turned into text; any other text as it is."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _MOST_CHARS:
        return text
    for reader in (json.loads, ast.literal_eval):
        try:
            return reader(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text


def _from_xcom(plain: Mapping[str, Any]) -> Named:
    name = plain.get("name")
    if not isinstance(name, str):
        keys = ", ".join(sorted(str(key) for key in plain)[:5])
        raise _invalid("job", keys, f"has no name (it has {keys or 'nothing'}).", f"Give {_FORMS}.")
    streaming = plain.get("streaming")
    return Named(
        _by_name(name, name),
        uid=str(plain.get("uid") or ""),
        image=str(plain.get("image") or ""),
        digest=str(plain.get("digest") or ""),
        streaming=streaming if isinstance(streaming, bool) else None,
    )


def _invalid(path: str, value: Any, says: str, remedy: str) -> InvalidInput:
    shown = value if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return InvalidInput([Finding("which-job", Verdict.BROKEN, path, shown, says, remedy)], lead=LEAD)
