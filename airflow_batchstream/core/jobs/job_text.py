"""JSON or YAML text -> data, with the line and column of a mistake.

YAML is read without YAML 1.1's guesses: every plain scalar stays the text that was written, and the schema, which knows
what belongs where, makes numbers and booleans of it. So ``on`` is no boolean, ``010`` no octal number, ``1.10`` keeps
its zero and ``12:30`` is no count of seconds. JSON's fractions stay text for the same reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.core.findings import Finding, Verdict
from airflow_batchstream.core.jobs.scalars import UNFILLED

LONGEST = 4_000_000
"""Characters of text; Batch takes 1 MB of JSON, and YAML may have comments."""

NODES = 200_000
"""Values that a text may expand to: YAML's aliases can make billions of a few lines."""

DEEPEST = 50
"""Levels of nesting; a job has about ten."""

_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # the C parser where PyYAML was built with it: ten times faster
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')
_TAGS = frozenset({"str", "null", "bool", "int", "float", "timestamp", "value", "seq", "map"})
_NULLS = ("", "~", "null", "Null", "NULL")
_TEMPLATE = (
    'A template has to stand in quotes: "{{ params.name }}"; the text is parsed first, its strings are rendered after.'
)


def parse_text(text: str, source: str = "job") -> Any:
    """Read a job's text.

    :param text: JSON if it starts as JSON does, else YAML.
    :param source: what the text is called in errors: ``job``, or the file's name. What ends in ``.yaml`` or ``.yml`` is
        read as YAML in any case.
    :return: the mapping that it holds.
    :raises InvalidInput: with line and column, also for a key that stands twice in one mapping.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > LONGEST:
        raise _error(
            source, None, f"has {len(text)} characters, and {LONGEST} are read at most", "Batch takes jobs of 1 MB."
        )
    looks_json = text.lstrip()[:1] in ("{", "[") and not source.lower().endswith((".yaml", ".yml"))
    try:
        data = _json(text, source) if looks_json else _yaml(text, source)
    except RecursionError:
        raise _error(source, None, "is nested too deeply", f"A job has at most {DEEPEST} levels.") from None
    if isinstance(data, dict):
        return data
    if data is None:
        raise _error(source, None, "is empty", "Put a Batch job into it, as JSON or YAML.")
    kind = "a list" if isinstance(data, list) else "a text"
    remedy = "Leave out the list's brackets." if isinstance(data, list) else "A file's name belongs into job_file."
    raise _error(source, None, f"holds {kind} where a mapping belongs", remedy)


def _error(source: str, at: tuple[int, int] | None, says: str, remedy: str) -> InvalidInput:
    path = f"{source}, line {at[0]}, column {at[1]}" if at else source
    return InvalidInput([Finding("job-text", Verdict.BROKEN, path, "", f"{says}.", remedy)])


def _json(text: str, source: str) -> Any:
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len(dict(found)) < len(found)
        return dict(found)

    def constant(name: str) -> Any:
        raise _error(source, None, f"holds {name}, which is no JSON", "Write a number.")

    try:
        # strict=False: a script's text with real line breaks in it is common, and clear.
        data = json.loads(text, object_pairs_hook=pairs, parse_float=str, parse_constant=constant, strict=False)
    except json.JSONDecodeError as error:
        raise _json_error(text, source, error) from None
    except ValueError:  # Python's limit on the digits of a number
        raise _error(source, None, "holds a number with thousands of digits", "Write a smaller number.") from None
    if twice:
        key, at, first = next(_json_doubles(text))
        raise _twice(source, key, at, first)
    return data


def _json_error(text: str, source: str, error: json.JSONDecodeError) -> InvalidInput:
    """Python's words, or better ones where it is clear what happened."""
    position, says = error.pos, f"{error.msg[:1].lower()}{error.msg[1:]}"
    before, here = text[:position].rstrip(), text[position : position + 1]
    if here == ",":  # newer Pythons point at the comma, older ones at what follows it
        before, here = text[: position + 1], text[position + 1 :].lstrip()[:1]
    if before.endswith(",") and here and here in "]}":
        position, says, remedy = len(before) - 1, "a comma stands before the end", "Leave out the comma."
    else:
        remedy = _json_remedy(text, position, error.msg)
    return _error(source, _place(text, position), f"is no JSON here: {says}", remedy)


def _json_remedy(text: str, position: int, message: str) -> str:
    rest = text[position:]
    around = text[max(0, position - 2) : position + 2]
    if found := UNFILLED.match(rest):
        return f"Put the real value in the place of {found[0]}."
    for signs, remedy in (
        (("'",), "Write double quotes, not single ones."),
        (("//", "/*", "#"), "JSON has no comments; YAML has."),
        (("True", "False", "None"), "Write true, false or null."),
    ):
        if rest.startswith(signs):
            return remedy
    if "{{" in around or "{%" in around:
        return _TEMPLATE
    if not rest.strip():
        return "The text ends too early: a bracket or quote is not closed."
    if "delimiter" in message:
        missing = "A comma is missing before it"
        return "The brackets do not match." if rest[0] in "]}" else f'{missing}, or \\ before a " inside a text.'
    return "Look at the line, or give the job as a Python dict."


def _json_doubles(text: str) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
    """Keys that stand twice in one object of valid JSON, with both places."""
    stack: list[dict[str, int]] = []
    last: tuple[str, int] = ("", 0)
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in ("{", "["):
            stack.append({})
        elif word in ("}", "]"):
            stack.pop()
        elif word == ":":
            key = json.loads(last[0], strict=False)
            if key in stack[-1]:
                yield key, _place(text, last[1]), _place(text, stack[-1][key])
            stack[-1].setdefault(key, last[1])
        last = (word, token.start())


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _twice(source: str, key: str, at: tuple[int, int], first: tuple[int, int]) -> InvalidInput:
    says = (
        f"the key {json.dumps(key, ensure_ascii=False)} stands here again, first in line {first[0]}, column {first[1]}"
    )
    return _error(source, at, says, "Keep one of the two.")


def _yaml(text: str, source: str) -> Any:
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else None
        raise _error(
            source, at, f"is no YAML here: {error.problem or error.context}", _yaml_remedy(text, error)
        ) from None
    except yaml.YAMLError as error:  # a character that YAML does not allow
        offset = getattr(error, "position", None)
        at = _place(text, offset) if isinstance(offset, int) else None
        raise _error(
            source, at, f"is no YAML: {getattr(error, 'reason', error)}", "Save the file as UTF-8 text."
        ) from None
    finally:
        loader.dispose()
    return _Yaml(source).value(node, 0) if node is not None else None


def _yaml_remedy(text: str, error: yaml.MarkedYAMLError) -> str:
    if "but found another document" in str(error.problem):
        return "One file holds one job: leave out the second ---."
    lines = text.splitlines()
    line = lines[error.problem_mark.line] if error.problem_mark and error.problem_mark.line < len(lines) else ""
    if "{{" in line or "{%" in line:
        return _TEMPLATE
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "Indent with spaces, not with tabs."
    return "Look at the indentation, and put texts with : # { [ * & ! | > % @ in quotes."


class _Yaml:
    """One walk over YAML's nodes, within bounds."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes = 0

    def refuse(self, node: Any, says: str, remedy: str) -> InvalidInput:
        return _error(self.source, _mark(node), says, remedy)

    def value(self, node: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES:
            raise self.refuse(node, f"expands to more than {NODES} values", "Use fewer aliases (*name).")
        if depth > DEEPEST:  # an alias to what it stands in never ends
            raise self.refuse(node, "is nested too deeply", f"A job has at most {DEEPEST} levels.")
        if node.tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            raise self.refuse(node, f"has the tag {node.tag}, which means nothing to Batch", "Leave the tag out.")
        if isinstance(node, yaml.ScalarNode):
            plain = node.style not in ("'", '"', "|", ">")
            return None if plain and node.value in _NULLS else node.value
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        return self.mapping(node, depth)

    def mapping(self, node: Any, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        marks: dict[str, tuple[int, int]] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged = self.merge(value_node, depth) | merged
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(key_node, "has a list or mapping where a key belongs", _TEMPLATE)
            key = str(key_node.value)
            if key in out:
                raise _twice(self.source, key, _mark(key_node), marks[key])
            out[key], marks[key] = self.value(value_node, depth + 1), _mark(key_node)
        return merged | out

    def merge(self, node: Any, depth: int) -> dict[str, Any]:
        """``<<: *defaults``: the keys of another mapping, or of several of which the first wins."""
        found = self.value(node, depth + 1)
        merged: dict[str, Any] = {}
        for part in found if isinstance(found, list) else [found]:
            if not isinstance(part, dict):
                raise self.refuse(
                    node, "merges something that is no mapping", "After << an alias of a mapping belongs."
                )
            merged = part | merged
        return merged


def _mark(node: Any) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
