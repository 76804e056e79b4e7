"""Strict reading of JSON that strangers wrote: a value has the right type, or a :class:`ManifestError` says where not.

Below :mod:`.manifest`. A missing key and ``null`` are the same, as Go's encoders write both for "nothing".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from airflow_batchstream.core.words import printable

MOST_VALUES = 250_000
"""Values in one document, counted by its commas: few bytes each, but a hundred in memory. Real ones have hundreds."""


class ManifestError(ValueError):
    """A manifest or a config that cannot be read; the message says where and why.

    :param remedy: what to do about it, if that is known: the end of the message.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message}. {remedy}" if remedy else message)
        self.remedy = remedy


def load(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in the bytes.

    :param what: for the message: "the manifest".
    """
    if body.count(b",") >= MOST_VALUES:
        raise ManifestError(f"{what} has more than {MOST_VALUES:,} values: no build writes so many")
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ManifestError(f"{what} is nested too deeply to be one") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{what} is not UTF-8 text: {body[:20]!r}") from None
    except ValueError as error:
        raise ManifestError(f"{what} is not JSON ({error}): {body[:60]!r}") from None
    if not isinstance(document, dict):
        raise ManifestError(f"{what} is JSON, but {_kind(document)} instead of an object")
    return document


def text(document: Mapping[str, Any], key: str) -> str:
    """A text, or an empty one. Half characters (lone surrogates), which cannot be printed, are replaced."""
    value = document.get(key)
    if value is None:
        return ""
    return _clean(value) if isinstance(value, str) else _wrong(key, value, "a text")


def integer(document: Mapping[str, Any], key: str) -> int | None:
    """A whole number, or None."""
    value = document.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return _wrong(key, value, "a whole number")


def mapping(document: Mapping[str, Any], key: str) -> dict[str, Any]:
    """An object, or an empty one."""
    value = document.get(key)
    if value is None:
        return {}
    return value if isinstance(value, dict) else _wrong(key, value, "an object")


def items(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    """A list, or an empty one."""
    value = document.get(key)
    if value is None:
        return []
    return value if isinstance(value, list) else _wrong(key, value, "a list")


def objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """A list of objects, or an empty one."""
    values = items(document, key)
    for value in values:
        if not isinstance(value, dict):
            _wrong(key, value, "an object")
    return list(values)


def texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts, or an empty one."""
    values = items(document, key)
    for value in values:
        if not isinstance(value, str):
            _wrong(key, value, "a text")
    return tuple(_clean(value) for value in values)


def _clean(value: str) -> str:
    return value.encode("utf-8", "replace").decode("utf-8")


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", type(None): "null", dict: "an object"}
    return names.get(type(value), "a number")


def _wrong(key: str, value: object, right: str) -> NoReturn:
    shown = printable(key[:100])  # a label's name may be anything
    raise ManifestError(f"`{shown}` has {_kind(value)} where {right} belongs")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
