"""Pages of a list: filter, order, size, token, as Google's list calls have them.

The filter language (AIP-160) is understood in its common part: ``state=RUNNING``, ``labels.env="test"``,
``create_time>="2026-01-31T00:00:00Z"``, with AND, OR, NOT and parentheses. It shares the grammar of :mod:`.log_filter`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from google.api_core import exceptions as gax

from airflow_batchstream.emulator.log_filter import Compare, FilterError, matches, nanoseconds, parse_with

MAX_PAGE = 1000
DEFAULT_PAGE = 100


def page(items: Sequence[Any], request: Any) -> tuple[list[Any], str]:
    """The part of ``items`` that a list request asks for, and the token of the next page.

    :param items: protobuf messages in their default order.
    """
    text, order = getattr(request, "filter", ""), getattr(request, "order_by", "")
    size = request.page_size
    if size < 0:
        raise gax.InvalidArgument(f"page_size is {size}: it must not be negative.")
    offset = _offset(request.page_token, text, order)
    chosen = _ordered(_filtered(items, text), order)
    end = offset + min(size or DEFAULT_PAGE, MAX_PAGE)
    return list(chosen[offset:end]), _token(end, text, order) if end < len(chosen) else ""


def _token(offset: int, *query: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([offset, *query]).encode()).decode()


def _offset(token: str, *query: str) -> int:
    if not token:
        return 0
    try:
        offset, *asked = json.loads(base64.urlsafe_b64decode(token))
        offset = int(offset)
    except (ValueError, TypeError):
        raise gax.InvalidArgument(f"Invalid page_token {token!r}.") from None
    if asked != list(query):
        raise gax.InvalidArgument("page_token belongs to a request with another filter or order.")
    return offset


def _filtered(items: Sequence[Any], text: str) -> Sequence[Any]:
    if not text:
        return items
    try:
        node = parse_with(text, _snake, lambda field, op, value: Compare(field, op, time_text(value)))
    except FilterError as error:
        raise gax.InvalidArgument(f"Invalid filter {text!r}: {error}") from None
    return [item for item in items if matches(node, _asker(item))]


def _asker(item: Any) -> Callable[[str], str | None]:
    return lambda path: value_at(item, path)


def _ordered(items: Sequence[Any], order: str) -> Sequence[Any]:
    chosen = list(items)
    for clause in reversed([c.split() for c in order.split(",") if c.strip()]):
        if len(clause) > 2 or (len(clause) == 2 and clause[1].lower() not in ("asc", "desc")):
            raise gax.InvalidArgument(f"Invalid order_by {order!r}: write FIELD or FIELD desc.")
        path = _snake(clause[0])
        chosen.sort(key=lambda item, path=path: value_at(item, path) or "", reverse=clause[-1].lower() == "desc")  # type: ignore[misc]
    return chosen


def value_at(message: Any, path: str) -> str | None:
    """The value of a field by its path (``status.state``, ``labels.env``) as text; enums by name, times sortable."""
    head, _, rest = path.partition(".")
    if head == "state" and "status" in message.DESCRIPTOR.fields_by_name:
        return value_at(message.status, "state")
    field = message.DESCRIPTOR.fields_by_name.get(head)
    if field is None:
        return None
    value = getattr(message, head)
    if field.message_type and field.message_type.GetOptions().map_entry:
        return str(value[rest]) if rest in value else None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return None
    if field.message_type and field.message_type.full_name == "google.protobuf.Timestamp":
        return f"{value.ToNanoseconds():020d}"
    if field.message_type:
        return value_at(value, rest) if rest and hasattr(value, "DESCRIPTOR") else None
    if field.enum_type:
        return str(field.enum_type.values_by_number[value].name)
    return str(value)


def time_text(text: str) -> str:
    """A time as :func:`value_at` writes it, so that both compare."""
    moment = nanoseconds(text)
    return text if moment is None else f"{moment:020d}"


def _snake(path: str) -> str:
    head, dot, rest = path.partition(".")
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), head) + dot + rest
