"""Everything this library raises on purpose.

::

    BatchStreamError
    ├── InvalidInput            a job, an argument or a file breaks a rule; nothing was submitted
    ├── ImageRefused            the image cannot be streamed, or cannot be read
    ├── ApiRefused              Google's API answered with an error that waiting does not mend
    │   ├── NoCredentials       there are no credentials, or no access token comes from them
    │   └── JobExists           the job id is taken by a job that is not ours, or that is dead
    ├── JobFailed               the job ended as FAILED
    ├── JobCancelled            the job was cancelled or deleted, and not by this task
    ├── StateMissed             the job ended without the state that a sensor waited for
    ├── JobTimedOut             a deadline passed; the message says what became of the job
    └── Interrupted             the wait broke off (a worker that stops, a triggerer that cannot); the job lives on

``retryable`` says whether running the same task again can help: where it is False, the operators fail the task without
Airflow's retries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_batchstream.core.findings import Finding


class BatchStreamError(Exception):
    """Base of all errors of this library.

    :param message: what happened and what to do, ready to be shown; never holds a secret.
    :param retryable: whether the same task, run again, can succeed.
    """

    retryable = False

    def __init__(self, message: str, *, retryable: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable


class InvalidInput(BatchStreamError):
    """A job, an argument or a file breaks a rule. Nothing was submitted.

    :param findings: the broken rules, in the order of the job.
    :param lead: what did not happen because of them.
    """

    def __init__(self, findings: Sequence[Finding], *, lead: str = "The job was not submitted") -> None:
        self.findings = tuple(findings)
        lines = "\n".join(f"  - {f}" for f in self.findings)
        count = "1 problem" if len(self.findings) == 1 else f"{len(self.findings)} problems"
        super().__init__(f"{lead}, {count}:\n{lines}")


class ImageRefused(BatchStreamError):
    """The image breaks a rule of Image streaming, or the registry does not give it out.

    :param missing: the registry has no such image, tag or digest.
    :param untold: nothing is said against the image: what had to be known of it could not be read.
    :param remedy: the end of the message that says what to do, where that is not about the image or the registry.
    """

    def __init__(
        self,
        message: str,
        *,
        findings: Sequence[Finding] = (),
        retryable: bool | None = None,
        missing: bool = False,
        untold: bool = False,
        remedy: str = "",
    ) -> None:
        super().__init__(message, retryable=retryable)
        self.findings, self.missing, self.untold, self.remedy = tuple(findings), missing, untold, remedy


class ApiRefused(BatchStreamError):
    """Google's API refused a call.

    :param code: the gRPC status name, such as ``PERMISSION_DENIED``.
    """

    def __init__(self, message: str, *, code: str, retryable: bool | None = None) -> None:
        super().__init__(message, retryable=retryable)
        self.code = code


class NoCredentials(ApiRefused):
    """There are no Google credentials, or no access token comes from them.

    :param says: what is wrong.
    :param remedy: what to do, in the words of the place that they were looked for in.
    """

    def __init__(self, says: str, *, remedy: str, retryable: bool) -> None:
        super().__init__(f"{says} {remedy}", code="UNAUTHENTICATED", retryable=retryable)
        self.says, self.remedy = says, remedy


class JobExists(ApiRefused):
    """The job id is taken, and its job may not be adopted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="ALREADY_EXISTS")


class JobError(BatchStreamError):
    """An error that concerns one job which exists in Batch.

    :param job: the small dict that XCom ``batch_job`` carries (name, uid, state, exit codes ...).
    """

    def __init__(self, message: str, *, job: Mapping[str, Any], retryable: bool | None = None) -> None:
        super().__init__(message, retryable=retryable)
        self.job = dict(job)

    @property
    def exit_codes(self) -> list[int]:
        """The distinct exit codes of the failed tasks, smallest first."""
        return sorted({int(code) for code in self.job.get("exit_codes", {}).values()})


class JobFailed(JobError):
    """The job ended as FAILED: a container's own exit code, or infrastructure (50000 to 50006)."""

    retryable = True


class JobCancelled(JobError):
    """The job was cancelled or deleted by somebody else."""


class StateMissed(JobError):
    """The job SUCCEEDED, and another state was waited for: it will never come."""


class JobTimedOut(JobError):
    """A deadline passed before the job ended."""

    retryable = True


class Interrupted(JobError):
    """The worker was told to stop while the job ran, or the triggerer cannot wait. A retry adopts the job."""

    retryable = True
