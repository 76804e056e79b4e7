"""Single values as people write them -> as the REST API writes them. The leaves of :mod:`schema`'s walk."""

from __future__ import annotations

import json
import pathlib
import re
from decimal import Decimal
from enum import Enum
from typing import Any

from airflow_batchstream.core.jobs import durations
from airflow_batchstream.core.jobs.batch_v1 import Field, nearest
from airflow_batchstream.core.jobs.secrecy import masked_text

LIMITS = {"int32": 2**31, "int64": 2**63}
UNFILLED = re.compile(
    r"\$\{[^{}]*\}|\$[A-Za-z_]\w*|<[A-Za-z][^<>]*>|%[A-Z][A-Z0-9_]*%|\[[A-Z][A-Z0-9_-]*\]|\{[A-Z][A-Z0-9_]*\}|__[A-Z][A-Z0-9_]*__"
)
"""What templates of the cloud world leave behind: ``${PROJECT}``, ``<IMAGE>``, ``[ZONE]``."""

# Fields in which a shell, a program or a person reads the text: there $HOME and <b> mean themselves.
_FREE = frozenset(
    {"commands", "entrypoint", "options", "text", "path", "logsPath", "displayName", "username", "password", "volumes"}
    | {"mountOptions", "cipherText", "environments", "variables", "secretVariables", "name"}
)
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")
_TYPES = {bool: "true or false", type(None): "null", dict: "a mapping", list: "a list", tuple: "a list", str: "a text"}


class Complaint(ValueError):
    """A value that cannot be taken.

    :param rule: which rule it breaks, as in a finding.
    :param says: continues "``path``: ``value`` ...".
    """

    def __init__(self, rule: str, says: str, remedy: str) -> None:
        super().__init__(says)
        self.rule, self.says, self.remedy = rule, says, remedy


def templated(value: object) -> bool:
    """Whether Jinja will replace it."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def kind_of(value: object) -> str:
    """``a list``, ``a mapping``, ``a number``: in the words of JSON."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return "a number"
    return _TYPES.get(type(value), f"a Python {type(value).__name__}")


def read(field: Field, value: Any) -> Any:
    """One value of a field's kind, in canonical form.

    :raises Complaint: if it is none.
    """
    if isinstance(value, str) and field.kind != "string":
        value = value.strip()
    if (
        isinstance(value, str)
        and (found := UNFILLED.search(value))
        and (field.kind != "string" or field.name not in _FREE)
    ):
        raise Complaint(
            "placeholder",
            f"still holds the placeholder {found[0]}",
            "Put the real value in its place, or a Jinja template such as {{ params.name }}.",
        )
    readers = {"string": _string, "bool": _bool, "enum": _enum, "duration": _duration, "int32": _int, "int64": _int}
    return readers[field.kind](field, value)


def _string(field: Field, value: Any) -> str:
    if isinstance(value, str):
        return str(value.value) if isinstance(value, Enum) else str(value)
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(int(value) if isinstance(value, int) else value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bool):
        raise Complaint("type", "stands where a text belongs", 'Write "true" or "True", with quotes.')
    remedy = f"Write {_item_as_text(value)}." if isinstance(value, list | tuple) else "Write a text."
    if isinstance(value, list | tuple | dict | None):
        remedy += " (render_template_as_native_obj=True turns texts that look like Python into values.)"
    raise Complaint("type", f"is {kind_of(value)} where a text belongs", remedy)


def _item_as_text(value: list[Any] | tuple[Any, ...]) -> str:
    if len(value) == 1 and isinstance(value[0], str):
        return json.dumps(masked_text(value[0]), ensure_ascii=False)
    return "one text"


def _bool(field: Field, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUE + _FALSE:
        return value.lower() in _TRUE
    meant = {0: "false", 1: "true"}.get(value, "true or false") if isinstance(value, int) else "true or false"
    raise Complaint("type", "is neither true nor false", f"Write {meant}.")


def _enum(field: Field, value: Any) -> str:
    if isinstance(value, Enum) and value.name in field.names:
        return value.name
    number = _whole(value)
    if number is not None and 0 <= number < len(field.names):
        return field.names[number]
    name = re.sub(r"[\s-]+", "_", value).upper() if isinstance(value, str) else ""
    if name in field.names:
        return name
    known = [known for known in field.names if not known.endswith("_UNSPECIFIED")]
    near = nearest(name, known)
    remedy = f"Did you mean {near}?" if near else ""
    raise Complaint("enum", f"is none of {', '.join(known)}.", remedy or f"Write one of them, such as {known[0]}.")


def _duration(field: Field, value: Any) -> str:
    try:
        return durations.written(durations.seconds(value))
    except ValueError as error:
        says, _, remedy = str(error).partition("; ")
        raise Complaint("duration", says, f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "") from None


def _int(field: Field, value: Any) -> int | str:
    whole = _whole(value)
    if whole is None:
        raise Complaint("number", "is no whole number", _number_meant(field, value))
    if not -LIMITS[field.kind] <= whole < LIMITS[field.kind]:
        raise Complaint("number", f"does not fit into {field.kind[3:]} bits", "Write a smaller number.")
    return str(whole) if field.kind == "int64" else whole


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float | Decimal):
        # Native rendering of Jinja turns '1e3' and '3.0' into floats.
        return _exact(Decimal(value))
    if isinstance(value, str) and re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,18})(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", value):
        return _exact(Decimal(value))
    return None


def _exact(value: Decimal) -> int | None:
    return int(value) if value.is_finite() and abs(value) < 2**64 and value == value.to_integral_value() else None


def _number_meant(field: Field, value: Any) -> str:
    """``"16Gi"`` for ``memoryMib`` means 16384."""
    unit = next((u for u in ("Mib", "Gb", "Milli") if field.name.endswith(u)), "")
    found = re.fullmatch(r"([0-9]{1,12})\s*([KMGTkmgt])[iI]?[bB]?", value) if isinstance(value, str) else None
    if found and unit in ("Mib", "Gb"):
        power = "KMGT".index(found[2].upper()) - (1 if unit == "Mib" else 2)
        if power >= 0:
            return f"It counts in {'MiB' if unit == 'Mib' else 'GB'}: write {int(found[1]) * 1024**power}."
    if isinstance(value, str) and re.fullmatch(r"[0-9][0-9,_ ]{0,25}", value):
        return f"Write {int(re.sub(r'[^0-9]', '', value))}."
    return "Write a number such as 1."
