"""A job file's text: from a path beside the Dag file, or from an object store that Airflow knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_batchstream.core.errors import BatchStreamError, InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict

MOST_BYTES = 4 * 1024 * 1024
"""A job may have 1 MB; comments and white space are allowed for."""
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What the same path gives again."""


def read_text(name: str, operator: Any) -> str:
    """The text of a job file.

    :param name: a path, relative to the Dag file's folder, or a URL (``gs://bucket/job.json``).
    :param operator: whose Dag's folder it is.
    :raises InvalidInput: if there is no such file, or it is no text.
    :raises BatchStreamError: if its store does not give it out now.
    """
    try:
        data = _read_url(name, operator) if "://" in name else _read_path(name, operator)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _refused(name, f"{name} is no UTF-8 text (byte {e.start}).", "Save it as UTF-8 JSON or YAML.") from e
    except (*_FINAL, ValueError, ImportError) as e:
        words = getattr(e, "strerror", None) or e
        raise _refused(name, f"{name} cannot be read: {words}.", _where(name, operator)) from e
    except Exception as e:  # of the store's client, whose errors are its own
        words = (
            f"job_file: {name} cannot be read now ({type(e).__name__}: {str(e).rstrip('.')}). {_where(name, operator)}"
        )
        raise BatchStreamError(words, retryable=True) from e


def _read_path(name: str, operator: Any) -> bytes:
    with (_folder(operator) / name).open("rb") as file:
        return file.read(MOST_BYTES)


def _read_url(url: str, operator: Any) -> bytes:
    from airflow.sdk import ObjectStoragePath

    path: Any = ObjectStoragePath(url, **({"conn_id": operator.gcp_conn_id} if url.startswith("gs://") else {}))
    with path.open("rb") as file:
        data: bytes = file.read(MOST_BYTES)
    return data


def _folder(operator: Any) -> Path:
    """The folder of the Dag file; the current one outside a Dag."""
    fileloc = getattr(operator.dag, "fileloc", "") if operator.has_dag() else ""
    return Path(fileloc).parent if fileloc else Path.cwd()


def _where(name: str, operator: Any) -> str:
    if "://" in name:
        return "Check the URL, the provider package for its scheme, and the connection that may read it."
    if Path(name).is_absolute():
        return "Check the path, as the worker sees it."
    return f"A relative path starts at the Dag file's folder, {_folder(operator)}, as the worker sees it."


def _refused(name: str, says: str, remedy: str) -> InvalidInput:
    return InvalidInput([Finding("job-file", Verdict.BROKEN, "job_file", name, says, remedy)])
