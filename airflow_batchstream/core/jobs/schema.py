"""Jobs as people write them -> canonical camelCase JSON, or findings that say what was meant.

First station of a job: :mod:`job_text` -> **schema** -> :mod:`spec` -> :mod:`rules`. It walks a value along Google's
own table (:mod:`batch_v1`) and knows nothing of what makes sense in Batch, only of form.

Canonical is what the REST API writes: names of enums, int64 as text, durations as ``"3600s"``. What proto3 does not
transmit (``0``, ``""``, ``[]``) is dropped, so that what ``Job.to_dict`` prints and the JSON file that the job was read
from are the same spec.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs import durations, protos, scalars
from airflow_batchstream.core.jobs.batch_v1 import Field, camel, nearest, places, table
from airflow_batchstream.core.jobs.job_text import parse_text
from airflow_batchstream.core.jobs.model import Spec
from airflow_batchstream.core.jobs.secrecy import MASK, SECRET_FIELDS, masked_text

__all__ = ["conform", "conform_field", "duration", "parse_text", "templated"]

templated = scalars.templated

_ZEROS = {"string": "", "bool": False, "int32": 0, "int64": "0"}
_DROPPED = object()
"""Marks what was refused or is unset."""


def conform(value: Any, *, path: str = "job", templated_ok: bool = False) -> tuple[Spec, list[Finding]]:
    """Bring a job into canonical form.

    :param value: a mapping in camelCase, snake_case or both; a ``batch_v1.Job``, also as a part of the mapping.
    :param path: what the value is called in findings.
    :param templated_ok: leave texts with Jinja marks, and objects such as an XComArg, as they are: they get their
        values later. All the rest is checked.
    :return: what could be taken, without fields that only Batch writes and without unset ones; and what could not. The
        spec is whole only if there are no findings.
    """
    walk = _Walk(templated_ok)
    spec = walk.message("Job", protos.plain(value), path)
    return (spec if isinstance(spec, dict) else {}), walk.findings


def conform_field(
    message: str, name: str, value: Any, *, path: str, templated_ok: bool = False
) -> tuple[Any, list[Finding]]:
    """Bring one field's value into canonical form: an operator's argument that ends up in a job.

    :return: the value, or None if it is unset or was refused.
    """
    walk = _Walk(templated_ok)
    found = walk.field(table().messages[message][name], protos.plain(value), path)
    return (None if found is _DROPPED else found), walk.findings


def duration(value: Any) -> float:
    """Seconds of a duration in any form that a job may hold; :class:`ValueError` with words otherwise."""
    return float(durations.seconds(value))


_VALUES = (str, bytes, int, float, Decimal, timedelta, PurePath, Mapping, Sequence, Set, type(None))
"""What is a value already; an XComArg, whose value comes later, is none of these."""


class _Walk:
    """One walk along the table; collects findings."""

    def __init__(self, templated_ok: bool) -> None:
        self.templated_ok = templated_ok
        self.findings: list[Finding] = []

    def refuse(self, rule: str, path: str, value: object, says: str, remedy: str, *, hidden: bool = False) -> object:
        shown = MASK if hidden else short(value)
        self.findings.append(
            Finding(f"job-{rule}", Verdict.BROKEN, path, shown, f"{shown} {says}".rstrip(".") + ".", remedy)
        )
        return _DROPPED

    def later(self, value: object) -> bool:
        """Whether the value is only known once Airflow has rendered it."""
        return self.templated_ok and (scalars.templated(value) or not isinstance(value, _VALUES))

    def message(self, name: str, value: Any, path: str) -> Any:
        if self.later(value):
            return value
        if not isinstance(value, Mapping):
            return self.refuse(
                "type", path, value, f"is {scalars.kind_of(value)} where a mapping belongs", _mapping(name, value)
            )
        fields = table().messages[name]
        out: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for key, inner in value.items():
            canonical = camel(key) if isinstance(key, str) else ""
            if canonical not in fields:
                self.unknown(name, key, inner, path)
            elif canonical in seen:
                says = f"{seen[canonical]} and {key} are two spellings of one field."
                finding = Finding(
                    "job-key-twice", Verdict.BROKEN, f"{path}.{canonical}", key, says, "Keep one of the two."
                )
                self.findings.append(finding)
            else:
                seen[canonical] = str(key)
                self.keep(out, fields[canonical], inner, f"{path}.{canonical}")
        if name == "Container" and _printed(value):
            # Job.to_dict prints false for what nobody set: that is no word against Image streaming.
            out = {key: inner for key, inner in out.items() if inner is not False}
        return out

    def keep(self, out: dict[str, Any], field: Field, value: Any, path: str) -> None:
        if field.kind == "output" or value is None:
            return
        found = self.field(field, value, path)
        if found is not _DROPPED and not _unset(field, found):
            out[field.name] = found

    def unknown(self, message: str, key: Any, value: Any, path: str) -> None:
        fields = table().messages[message]
        where = f"{path}.{key}"
        near = nearest(str(key), fields)
        elsewhere = places().get(camel(str(key)), ())
        if near and near not in elsewhere:
            remedy = f"Did you mean {near}?"
        elif elsewhere:
            remedy = f"It belongs to job.{' or job.'.join(elsewhere[:2])}."
        elif message == "Environment":
            remedy = f'Write {{"variables": {{"{key}": ...}}}}.'
        elif message == "Job" and "job" in str(key).lower() and isinstance(value, Mapping):
            remedy = "Give only the job itself: what stands under this key."
        else:
            names = (name for name, field in fields.items() if field.kind != "output")
            remedy = f"There are: {', '.join(names)}."
        kind = f"a {message}" if message == "Job" else path.rpartition(".")[2].partition("[")[0]
        says = f"there is no such field in {kind}."
        self.findings.append(Finding("job-unknown-field", Verdict.BROKEN, where, str(key), says, remedy))

    def field(self, field: Field, value: Any, path: str) -> Any:
        if self.later(value) and (field.repeated or field.mapped):
            return value
        if field.mapped:
            return self.mapping(field, value, path)
        if not field.repeated:
            return self.one(field, value, path)
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
            says = f"is {scalars.kind_of(value)} where a list belongs"
            self.refuse("type", path, value, says, _list(field, value))
            if isinstance(value, Mapping) and field.kind == "message":
                self.one(field.item, value, f"{path}[0]")  # all that is wrong in it is said at once
            return _DROPPED
        items = [self.one(field.item, inner, f"{path}[{index}]") for index, inner in enumerate(value)]
        return [item for item in items if item is not _DROPPED]

    def mapping(self, field: Field, value: Any, path: str) -> Any:
        hidden = field.name in SECRET_FIELDS
        if not isinstance(value, Mapping):
            says = f"is {scalars.kind_of(value)} where a mapping belongs"
            return self.refuse("type", path, value, says, 'Write {"NAME": "value"}.', hidden=hidden)
        out: dict[str, Any] = {}
        for key, inner in value.items():
            if not isinstance(key, str):
                self.refuse("type", path, key, "is no text, and names are texts", f'Write "{key}", with quotes.')
            elif (found := self.one(field.item, inner, f"{path}.{key}")) is not _DROPPED:
                out[key] = found
        return out

    def one(self, field: Field, value: Any, path: str) -> Any:
        if field.kind == "message":
            return self.message(field.message, protos.plain(value), path)
        if self.later(value):
            return value
        try:
            return scalars.read(field, value)
        except scalars.Complaint as complaint:
            hidden = field.name in SECRET_FIELDS
            remedy = "Write a text, in quotes." if hidden else complaint.remedy  # a remedy may repeat the value
            return self.refuse(complaint.rule, path, value, complaint.says, remedy, hidden=hidden)


def short(value: object) -> str:
    """A value in a sentence: as JSON, without secrets, not longer than a line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}" if len(value) < 6 else f"a mapping of {len(value)} keys"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = masked_text(text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _printed(container: Mapping[str, Any]) -> bool:
    """Whether this is what ``Job.to_dict`` prints of a container: it names the fields that nobody writes empty."""
    found = {camel(key): value for key, value in container.items() if isinstance(key, str)}
    return all(
        found.get(name, 1) in ("", False) for name in ("options", "username", "password", "blockExternalNetwork")
    )


def _unset(field: Field, value: Any) -> bool:
    """Whether proto3 would not transmit the value. A message is there even when it is empty (``barrier: {}``)."""
    if field.repeated or field.mapped:
        return value in ([], {})
    if field.kind == "enum":
        return bool(value == field.names[0])
    if field.name == "enableImageStreaming":
        return False  # false is a user's word here: it keeps a container from being streamed
    return field.kind in _ZEROS and bool(value == _ZEROS[field.kind])


def _list(field: Field, value: Any) -> str:
    """What to write where a list belongs."""
    if isinstance(value, Mapping):
        return "Put it into a list: [{...}]."
    if field.name in SECRET_FIELDS or isinstance(value, bytes):
        return "Put it into a list: [...]."
    if field.name == "mountOptions" and isinstance(value, str) and "," in value:
        return f"Write {json.dumps([option.strip() for option in value.split(',')])}."
    if isinstance(value, str) and value.lstrip().startswith("["):
        return "A template gives a text: set render_template_as_native_obj=True on the Dag, or write the list itself."
    if field.name == "commands" and isinstance(value, str) and " " in value.strip():
        return (
            'Each argument is an item of its own: ["python", "main.py"]; a line for a shell: ["/bin/sh", "-c", "..."].'
        )
    return f"Write [{short(value)}]."


def _mapping(message: str, value: Any) -> str:
    """What to write where a mapping belongs."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1 and isinstance(value[0], Mapping):
        return "Leave out the list's brackets."
    if message == "Container" and isinstance(value, str):
        return f'Write {{"imageUri": {short(value)}}}.'
    if message == "Script" and isinstance(value, str):
        return 'Write {"text": "..."}.'
    if message == "Environment":
        return 'Write {"variables": {"NAME": "value"}}.'
    if message == "Job" and isinstance(value, str):
        return "Give a dict or JSON/YAML text; a file's name belongs into job_file."
    names = [name for name, field in table().messages[message].items() if field.kind != "output"]
    return f"Write {{{', '.join(f'{json.dumps(name)}: ...' for name in names[:2])}}}."
