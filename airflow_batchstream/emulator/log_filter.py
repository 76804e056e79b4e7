"""The part of Cloud Logging's query language that the local Batch answers; the rest is refused with INVALID_ARGUMENT.

    logName="projects/p/logs/batch_task_logs" AND timestamp>="2026-01-01T00:00:00Z" AND labels.job_uid=("a" OR "b")

:func:`parse` makes a tree, :func:`matches` asks it of one entry, :func:`required` and :func:`bounds` read off what an
index can use. Comparisons: ``=`` ``!=`` ``:`` ``<`` ``<=`` ``>`` ``>=`` ``=~`` ``!~``. They are joined by ``AND`` (also
by standing side by side), ``OR``, ``NOT``, ``-`` and parentheses, also right of a comparison.
As in Cloud Logging, ``OR`` binds more tightly than ``AND``, strings compare without regard to case (not with ``=~``),
and a missing field matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

SEVERITIES = {
    "DEFAULT": 0, "DEBUG": 100, "INFO": 200, "NOTICE": 300, "WARNING": 400, "ERROR": 500, "CRITICAL": 600, "ALERT": 700,
    "EMERGENCY": 800,
}  # fmt: skip

TIMES = frozenset({"timestamp", "receiveTimestamp"})
FIELDS = frozenset({*TIMES, "severity", "logName", "insertId", "textPayload", "resource.type"})
"""Fields that can be asked for, besides ``labels.*`` and ``resource.labels.*``."""

_SPELLINGS = {
    "log_name": "logName", "logname": "logName", "insert_id": "insertId", "insertid": "insertId",
    "text_payload": "textPayload", "textpayload": "textPayload",
    "receive_timestamp": "receiveTimestamp", "receivetimestamp": "receiveTimestamp",
}  # fmt: skip

MAX_CHARS = 20_000
"""The longest filter that Cloud Logging takes (source: its quotas page)."""


class FilterError(ValueError):
    """The filter is wrong, or beyond what the local Batch understands."""


@dataclass(frozen=True, slots=True)
class Compare:
    """``field op value``; ``value`` is nanoseconds for times, a number for severities, else text."""

    field: str
    op: str
    value: str | int


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    inner: Node


@dataclass(frozen=True, slots=True)
class All:
    """Every one of them; of none, everything matches."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of them."""

    parts: tuple[Node, ...]


Node = Compare | Not | All | Any
Fields = Callable[[str], "str | int | None"]
"""Asks one entry for the value of a field."""


def parse(text: str) -> Node:
    """Read a filter of log entries; :class:`FilterError` says what is wrong, and where."""
    if len(text) > MAX_CHARS:
        raise FilterError(f"The filter is {len(text)} characters long; {MAX_CHARS} are allowed.")
    return parse_with(text, _field, _typed)


def parse_with(text: str, field: Callable[[str], str], typed: Callable[[str, str, str], Compare] | None = None) -> Node:
    """Read a filter over other fields.

    :param field: gives a field's proper name, or raises :class:`FilterError`.
    :param typed: makes a comparison of field, operator and text.
    """
    parser = _Parser(text, field, typed or Compare)
    node = parser.conjunction()
    if parser.kind != "end":
        raise parser.error("an operator or the end")
    return node


def matches(node: Node, fields: Fields) -> bool:
    """Whether an entry is meant."""
    match node:
        case Compare(field, op, value):
            return _compare(fields(field), op, value)
        case Not(inner):
            return not matches(inner, fields)
        case All(parts):
            return all(matches(p, fields) for p in parts)
        case Any(parts):
            return any(matches(p, fields) for p in parts)


def required(node: Node, field: str) -> frozenset[str] | None:
    """The only values that ``field`` can have in a match (by ``=``), or None if the filter does not bind it."""
    match node:
        case Compare(name, "=", value) if name == field:
            return frozenset({str(value)})
        case All(parts):
            sets = [s for s in (required(p, field) for p in parts) if s is not None]
            return frozenset.intersection(*sets) if sets else None
        case Any(parts):
            options = [required(p, field) for p in parts]
            return (
                frozenset().union(*(o for o in options if o is not None))
                if all(o is not None for o in options)
                else None
            )
    return None


def bounds(node: Node, field: str) -> tuple[int | None, int | None]:
    """The least and greatest value that ``field`` can have in a match, as far as the top of the filter tells."""
    match node:
        case Compare(name, op, int(value)) if name == field:
            return (value if op in ("=", ">", ">=") else None, value if op in ("=", "<", "<=") else None)
        case All(parts):
            found = [bounds(p, field) for p in parts]
            low = [lo for lo, _ in found if lo is not None]
            high = [hi for _, hi in found if hi is not None]
            return max(low, default=None), min(high, default=None)
    return None, None


def nanoseconds(text: str) -> int | None:
    """RFC 3339 (or a date) to nanoseconds since the epoch; None if it is neither."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)?", text)
    if not found:
        return None
    day, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{zone}")
    except ValueError:
        return None
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


def _compare(actual: str | int | None, op: str, value: str | int) -> bool:
    if actual is None:
        return False
    if isinstance(value, int):
        left: str | int = actual if isinstance(actual, int) else 0
        return _ORDER[op](left, value)
    text = str(actual)
    if op in ("=~", "!~"):
        return bool(re.search(value, text)) is (op == "=~")
    if op == ":":
        return value.casefold() in text.casefold()
    return _ORDER[op](text.casefold(), value.casefold())


_ORDER: Mapping[str, Callable[[str | int, str | int], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
    ">": lambda a, b: a > b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
}

_TOKEN = re.compile(
    r"""\s*(?:--[^\n]*\s*)*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<op><=|>=|!=|=~|!~|=|<|>|:)
      | (?P<open>\() | (?P<close>\)) | (?P<comma>,)
      | (?P<minus>-(?=[\w("]))
      | (?P<word>[^\s()"'=<>!:~,]+(?:(?<=\.)"(?:[^"\\]|\\.)*")?)
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, field: Callable[[str], str], typed: Callable[[str, str, str], Compare]) -> None:
        self.field, self.typed = field, typed
        self.text, self.at, self.start, self.kind, self.token = text, 0, 0, "", ""
        self.advance()

    def advance(self) -> str:
        """Take the current token, look at the next."""
        taken = self.token
        found = _TOKEN.match(self.text, self.at)
        if not found or not found.lastgroup:
            raise FilterError(
                f"Unparseable filter: syntax error at column {self.at + 1}, token {self.text[self.at :][:20]!r}."
            )
        self.kind, self.token = found.lastgroup, found[found.lastgroup]
        self.start, self.at = found.start(found.lastgroup), found.end()
        return taken

    def error(self, expected: str) -> FilterError:
        """What should have stood here."""
        found = repr(self.token) if self.kind != "end" else "the end"
        return FilterError(
            f"Unparseable filter: syntax error at column {self.start + 1}: expected {expected}, found {found}."
        )

    def keyword(self, word: str) -> bool:
        """Take a keyword, if it stands here. They are written in capitals."""
        if self.kind == "word" and self.token == word:
            self.advance()
            return True
        return False

    def conjunction(self) -> Node:
        parts: list[Node] = []
        while self.kind not in ("end", "close"):
            parts.append(self.disjunction())
            if self.keyword("AND") and self.kind in ("end", "close"):
                raise self.error("a comparison after AND")
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def disjunction(self) -> Node:
        parts = [self.negation()]
        while self.keyword("OR"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def negation(self) -> Node:
        if self.keyword("NOT"):
            return Not(self.negation())
        if self.kind == "minus":
            self.advance()
            return Not(self.negation())
        return self.primary()

    def primary(self) -> Node:
        if self.kind == "open":
            self.advance()
            node = self.conjunction()
            self.close()
            return node
        if self.kind not in ("word", "string"):
            raise self.error("a field's name")
        column, name = self.start + 1, _unquoted(self.advance())
        if name == "log_id" and self.kind == "open":
            return self.log_id()
        if self.kind != "op":
            raise FilterError(f"The local Batch has no search over all fields: write FIELD:{name!r} (column {column}).")
        return self.values(self.field(name), self.advance())

    def log_id(self) -> Node:
        self.advance()
        if self.kind != "string":
            raise self.error("a log's id in quotes")
        value = _unquoted(self.advance())
        self.close()
        return Compare("log_id", "=", value)

    def values(self, field: str, op: str) -> Node:
        """The right-hand side: one value, or several in parentheses, each with the same field and operator."""
        if self.kind == "open":
            self.advance()
            node = self.value_conjunction(field, op)
            self.close()
            return node
        if self.kind == "minus" or self.kind not in ("word", "string"):
            raise self.error("a value")
        return self.typed(field, op, _unquoted(self.advance()))

    def value_conjunction(self, field: str, op: str) -> Node:
        parts = [self.value_disjunction(field, op)]
        while self.kind != "close":
            if not self.keyword("AND"):
                raise self.error("AND, OR or )")
            parts.append(self.value_disjunction(field, op))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def value_disjunction(self, field: str, op: str) -> Node:
        parts = [self.value_negation(field, op)]
        while self.keyword("OR"):
            parts.append(self.value_negation(field, op))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def value_negation(self, field: str, op: str) -> Node:
        return Not(self.value_negation(field, op)) if self.keyword("NOT") else self.values(field, op)

    def close(self) -> None:
        if self.kind != "close":
            raise self.error(")")
        self.advance()


def _unquoted(token: str) -> str:
    if token[:1] not in ("'", '"'):
        return token
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1] if m[1] in "\\\"'" else m[0]), token[1:-1])


def _field(name: str) -> str:
    name = _SPELLINGS.get(name, name)
    if name in FIELDS or re.fullmatch(r"(?:resource\.)?labels\..+", name):
        head, dot, key = name.partition("labels.")
        return f"{head}{dot}{_unquoted(key)}" if dot else name
    raise FilterError(
        f"The local Batch cannot filter on {name!r}; it knows {', '.join(sorted(FIELDS))}, labels.*, resource.labels.*"
    )


def _typed(field: str, op: str, text: str) -> Compare:
    if op in ("=~", "!~"):
        try:
            re.compile(text)
        except re.error as error:
            raise FilterError(f"{field}{op}{text!r}: not a regular expression: {error}") from None
    elif field in TIMES:
        moment = nanoseconds(text)
        if moment is None or op == ":":
            raise FilterError(f'{field}{op}{text!r}: write a time such as "2026-01-31T12:00:00Z" with = != < <= > >=.')
        return Compare(field, op, moment)
    elif field == "severity" and op != ":":
        level = SEVERITIES.get(text.upper(), int(text) if text.isdecimal() else None)
        if level is None:
            raise FilterError(f"severity{op}{text!r}: write one of {', '.join(SEVERITIES)}.")
        return Compare(field, op, level)
    return Compare(field, op, text)
