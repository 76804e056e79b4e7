"""What of a job may be shown, and what Airflow's masker must know.

Environment values are replaced wherever a job is shown: they are where people keep passwords, whatever the key is
called. Only values that are secrets for sure go to the masker, which blanks a value in every line a container prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_batchstream.core.jobs.batch_v1 import camel
from airflow_batchstream.core.jobs.model import Spec

MASK = "***"

SECRET_FIELDS = frozenset({"variables", "secretVariables", "encryptedVariables", "environments", "password"})
"""Fields whose values are never shown."""

# "token" only as a word of its own and in the singular: MAX_TOKENS and TOKENIZERS_PARALLELISM are no secrets.
_WORD = r"pass|passphrase|pwd|token|api_?key|access_?key|private_?key|credentials?|auth|dsn"
_NO_SECRET_KEY = re.compile(r"(?:old)?pwd|.*_(?:file|path|dir|sock|name|id|url|uri|type|ttl)", re.IGNORECASE)
_SECRET_KEY = re.compile(rf"(?:^|_)(?:{_WORD})(?:$|_)|password|passwd|secret|apikey", re.IGNORECASE)
# Each is anchored and bounded: a script of a megabyte is looked through in one go.
_URL = re.compile(
    r"(?<![\w+.-])[a-z][a-z0-9+.-]{0,30}://[^\s/:@'\"]{0,200}:(?P<secret>[^\s/'\"]{1,500})(?=@)", re.IGNORECASE
)
_PAIR = re.compile(r"(?<![\w-])-{0,2}(?P<key>[A-Za-z][\w-]{0,80})=[\"']?(?P<secret>[^\s\"']+)")
_HEADER = re.compile(r"authorization:\s*(?:[a-z]+\s+)?(?P<secret>[^\s'\"]+)", re.IGNORECASE)
_OPTION = re.compile(r"--?[A-Za-z][\w-]{0,80}")
_OPTION_PAIR = re.compile(r"(?<![\w-])--?(?P<key>[A-Za-z][\w-]{0,80})\s{1,9}[\"']?(?P<secret>[^\s\"'-][^\s\"']*)")


def looks_secret(key: str) -> bool:
    """Whether a value under this key is a secret: ``DB_PASS``, ``apiToken``, ``--client-secret``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_")
    return bool(_SECRET_KEY.search(words)) and not _NO_SECRET_KEY.fullmatch(words)


def masked_text(text: str) -> str:
    """A text without what is plainly a secret: passwords in URLs, ``--password=x``, ``TOKEN=x``, bearers."""
    parts, end = [], 0
    for start, stop in _found(text):
        parts += [text[end:start], MASK]
        end = stop
    return "".join([*parts, text[end:]])


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Spans of secrets; of overlapping ones only the first."""
    hits = [m.span("secret") for m in _URL.finditer(text)]
    hits += [m.span("secret") for m in _HEADER.finditer(text)]
    hits += [m.span("secret") for p in (_PAIR, _OPTION_PAIR) for m in p.finditer(text) if looks_secret(m["key"])]
    end = 0
    for start, stop in sorted(hits):
        if start >= end:
            yield start, stop
            end = stop


def masked(spec: Spec) -> Spec:
    """A copy that is safe to show. The job may still be as its author wrote it, in snake_case too."""
    return {key: _masked(key, value) for key, value in spec.items()}


def _masked(key: Any, value: Any) -> Any:
    if isinstance(key, str) and camel(key) in SECRET_FIELDS:
        return dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
    if isinstance(value, dict):
        return {name: _masked(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return _masked_list(key, value)
    if isinstance(value, str):
        return masked_text(value)
    return value


def _masked_list(key: str, values: list[Any]) -> list[Any]:
    """Of a list of arguments the one after ``--password`` is a secret too."""
    shown = [_masked(key, value) for value in values]
    for index, value in enumerate(values[:-1]):
        if (
            isinstance(value, str)
            and _OPTION.fullmatch(value)
            and looks_secret(value)
            and isinstance(shown[index + 1], str)
        ):
            shown[index + 1] = MASK
    return shown


def secrets(spec: Spec) -> list[str]:
    """Values for Airflow's masker, each once: the longest first, so that none is cut by a part of it."""
    found = {value for value in _secrets("", spec) if len(value) >= 5 and MASK not in value and not _ordinary(value)}
    return sorted(found, key=lambda value: (-len(value), value))


def _ordinary(value: str) -> bool:
    """Numbers, paths and names of variables stand in many lines: to blank them would hide more than it protects."""
    return bool(re.fullmatch(r"false|[\d.,:-]{1,9}|\$.*|(/[\w.-]+){2,}", value, re.IGNORECASE))


def _secrets(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        everything = camel(key) in ("secretVariables", "encryptedVariables")
        for name, inner in value.items():
            if isinstance(inner, str) and camel(name) != "keyName" and (everything or looks_secret(name)):
                yield inner
            else:
                yield from _secrets(name, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            before = value[index - 1] if index else ""
            if (
                isinstance(inner, str)
                and isinstance(before, str)
                and _OPTION.fullmatch(before)
                and looks_secret(before)
            ):
                yield inner
            else:
                yield from _secrets(key, inner)
    elif isinstance(value, str):
        yield from (value[start:stop] for start, stop in _found(value))
