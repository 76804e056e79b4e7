"""A job's id is computed, not remembered: retries, crashes and restarts compute the same one, and find their job.

All that tells one attempt of a task from another goes into a hash; the id carries a readable slug before it and the
*generation* after it, which is counted up where a job of that id is dead. A clear changes ``max_tries``, or the run's
start, and so gets a job of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from typing import NamedTuple

from airflow_batchstream.core.jobs.model import Owner, Spec

LONGEST_ID = 63
LONGEST_LABEL = 63

OUR_LABELS = "batchstream-"
"""What the names of labels begin with that a user may not set: a job that somebody exported carries old ones."""
ID_LABEL = "batchstream-id"
TASK_LABEL = "batchstream-task"
SPEC_LABEL = "batchstream-spec"
SCAN_LABEL = "batchstream-scan"
"""What the scan said of the first image: ``holds``, ``warning``, ``broken`` or ``unknown``."""
DIGEST_LABEL = "batchstream-digest"
"""The digest of the first image: :func:`digest_label`."""
BYTES_LABEL = "batchstream-bytes"
"""The compressed size of the first image, in bytes."""
_MOST_DIGITS = 15

_SCHEME = "airflow-batchstream/1"
"""Part of every hash: another way of computing ids has to find no job of this one."""

_REQUESTS = uuid.UUID("5a3c1f0e-7f0b-4b57-9c5a-7a0b3f1d8e42")


def labels(owner: Owner) -> dict[str, str]:
    """The labels that say whose a job is, the ones that decide over adoption first.

    :return: ``batchstream-id`` and ``batchstream-task`` (hashes), then ``airflow-...`` for people, in the characters
        that a label may have. A value that had to be cut ends in a hash of the whole.
    """
    return {
        ID_LABEL: _identity(owner),
        TASK_LABEL: _digest([owner.dag_id, owner.run_id, owner.task_id, owner.map_index, owner.run_started]),
        "airflow-dag-id": label_value(owner.dag_id),
        "airflow-task-id": label_value(owner.task_id),
        "airflow-run-id": label_value(owner.run_id),
        "airflow-map-index": str(owner.map_index),
        "airflow-try-number": str(owner.try_number),
    }


def label_value(text: str) -> str:
    """A text as a label's value: ``[a-z0-9_-]``, 63 characters at most."""
    clean = re.sub(r"[^a-z0-9_-]", "_", text.lower())
    return clean if len(clean) <= LONGEST_LABEL else f"{clean[: LONGEST_LABEL - 9]}-{_digest(text)[:8]}"


def spec_label(spec: Spec) -> str:
    """The value of ``batchstream-spec``: a hash of the canonical spec, before labels of ours are in it."""
    return _digest(spec)


class Scanned(NamedTuple):
    """What a scan said of a job's first image.

    :param digest: ``sha256:...``, or empty.
    :param verdict: ``holds``, ``warning``, ``broken`` or ``unknown``; empty if there was no scan.
    :param compressed_bytes: of all layers; 0 if that is not known.
    """

    digest: str = ""
    verdict: str = ""
    compressed_bytes: int = 0


def scan_labels(scanned: Scanned) -> dict[str, str]:
    """The labels by which a retry that adopts the job, or a sensor, knows its first image; what is not known has
    none."""
    size = scanned.compressed_bytes
    found = {
        DIGEST_LABEL: digest_label(scanned.digest),
        SCAN_LABEL: scanned.verdict,
        BYTES_LABEL: str(size) if size > 0 else "",
    }
    return {key: value for key, value in found.items() if value}


def scan_of_labels(labels: Mapping[str, str]) -> Scanned:
    """What :func:`scan_labels` wrote; a value that it did not write is passed over."""
    size = labels.get(BYTES_LABEL, "")
    number = int(size) if re.fullmatch(rf"[0-9]{{1,{_MOST_DIGITS}}}", size) else 0
    return Scanned(digest_of_label(labels.get(DIGEST_LABEL, "")), labels.get(SCAN_LABEL, ""), number)


def digest_label(digest: str) -> str:
    """A sha256 digest as a label's value: base32 without padding, since its 64 hexadecimal digits are one too many.

    :return: 52 characters; empty for what is no sha256 digest.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return ""
    return base64.b32encode(bytes.fromhex(digest.partition(":")[2])).decode().rstrip("=").lower()


def digest_of_label(value: str) -> str:
    """The digest that :func:`digest_label` made the value of; empty where it made none."""
    try:
        raw = base64.b32decode(f"{value.upper()}====")
    except (binascii.Error, ValueError):
        return ""
    return f"sha256:{raw.hex()}" if len(raw) == 32 else ""


def job_id(owner: Owner, generation: int) -> str:
    """The id of the owner's job.

    :param generation: 1, and one more for each dead job found under the id before.
    :return: ``<dag>-<task>-<hash>-<generation>``, at most 63 characters, as Batch wants it.
    """
    tail = f"-{_identity(owner)[:16]}-{generation}"
    mapped = f"-{owner.map_index}" if owner.map_index >= 0 else ""
    return _slug(owner, LONGEST_ID - len(tail) - len(mapped)) + mapped + tail


def request_id(job_id: str, salt: str) -> str:
    """The ``request_id`` of a call: the same for a client's repeat, so that Batch takes both for one.

    :param salt: what tells one attempt from the next: the task instance's id, which is new in each try.
    """
    return str(uuid.uuid5(_REQUESTS, json.dumps([job_id, salt])))


def _identity(owner: Owner) -> str:
    return _digest([owner.dag_id, owner.run_id, owner.task_id, owner.map_index, owner.max_tries, owner.run_started])


def _digest(value: object) -> str:
    """32 characters; JSON keeps apart what joining with a separator would mix up."""
    text = json.dumps([_SCHEME, value], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _slug(owner: Owner, room: int) -> str:
    """Dag and task, readable; where they are too long each keeps its beginning."""
    dag, task = _clean(owner.dag_id) or "dag", _clean(owner.task_id) or "task"
    if not dag[0].isalpha():
        dag = f"d{dag}"
    half = (room - 1) // 2
    dag_room = max(half, room - 1 - len(task))
    dag = dag[:dag_room].rstrip("-")
    return f"{dag}-{task[: room - 1 - len(dag)]}".rstrip("-")


def _clean(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
