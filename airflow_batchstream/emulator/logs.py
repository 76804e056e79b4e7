"""Cloud Logging v2: ``entries.list`` and ``logs.list`` over the entries of jobs. The rest is not implemented."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

from google.api import monitored_resource_pb2
from google.api_core import exceptions as gax
from google.cloud.logging_v2.types import log_entry as log_entry_types
from google.cloud.logging_v2.types import logging as logging_types

from airflow_batchstream.emulator.entries import Entries, Entry, Span
from airflow_batchstream.emulator.joblog import AGENT_LOG, TASK_LOG
from airflow_batchstream.emulator.log_filter import FilterError, Node, bounds, matches, parse, required
from airflow_batchstream.emulator.views import timestamp

DEFAULT_PAGE, MAX_PAGE = 50, 1000
SCAN = 20_000
"""Rows looked at for one page. A page may come out empty and still have a token, as on Cloud Logging."""

_LogEntry: Any = log_entry_types.LogEntry.pb()
_ListLogEntriesResponse: Any = logging_types.ListLogEntriesResponse.pb()
_ListLogsResponse: Any = logging_types.ListLogsResponse.pb()


class LoggingHandlers:
    """``google.logging.v2.LoggingServiceV2``."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries

    async def list_log_entries(self, request: Any) -> Any:
        projects = _projects(request.resource_names)
        size = request.page_size or DEFAULT_PAGE
        if size < 0:
            raise gax.InvalidArgument(f"page_size is {size}: it must not be negative.")
        try:
            node = parse(request.filter)
        except FilterError as error:
            raise gax.InvalidArgument(str(error)) from None
        query = zlib.crc32(repr((sorted(projects), request.filter, request.order_by)).encode())
        span = _span(node, _descending(request.order_by), _position(request.page_token, query))
        self.entries.flush()
        return await asyncio.to_thread(self._page, projects, node, span, min(size, MAX_PAGE), query)

    async def list_logs(self, request: Any) -> Any:
        projects = _projects(request.resource_names or [request.parent])
        return _ListLogsResponse(
            log_names=[f"projects/{p}/logs/{log}" for p in projects for log in (AGENT_LOG, TASK_LOG)]
        )

    def _page(self, projects: frozenset[str], node: Node, span: Span, size: int, query: int) -> Any:
        """One page. Runs in a thread: a page of 1,000 lines takes longer than others should wait."""
        found: list[Entry] = []
        last: Entry | None = None
        rows: Iterator[Entry] = self.entries.read(span, time.time_ns())
        for looked_at, entry in enumerate(rows):
            if looked_at >= SCAN or len(found) >= size:
                return self._answer(found, _token(last, query))
            last = entry
            if entry.project in projects and matches(node, Asker(entry, self.entries)):
                found.append(entry)
        return self._answer(found, "")

    def _answer(self, found: list[Entry], token: str) -> Any:
        return _ListLogEntriesResponse(entries=[self._view(e) for e in found], next_page_token=token)

    def _view(self, entry: Entry) -> Any:
        origin = self.entries.origin_of(entry)
        view = _LogEntry(
            log_name=f"projects/{entry.project}/logs/{entry.log}",
            text_payload=entry.text,
            timestamp=timestamp(entry.at),
            receive_timestamp=timestamp(entry.received),
            severity=entry.severity,
            insert_id=entry.insert_id,
            labels=labels_of(entry, origin.labels),
        )
        resource: Any = origin.resource
        view.resource.CopyFrom(
            monitored_resource_pb2.MonitoredResource(type=resource["type"], labels=resource["labels"])
        )
        return view


def labels_of(entry: Entry, common: Any) -> dict[str, str]:
    """All labels of one entry."""
    labels = dict(common)
    if entry.task_id:
        labels["task_id"] = entry.task_id
    if entry.runnable:
        labels["runnable_index"] = entry.runnable
    return labels


class Asker:
    """Answers a filter's questions about one entry."""

    def __init__(self, entry: Entry, entries: Entries) -> None:
        self.entry, self.entries = entry, entries

    def __call__(self, field: str) -> str | int | None:
        entry = self.entry
        if field.startswith("labels."):
            return self._label(field.removeprefix("labels."))
        if field.startswith("resource."):
            resource: Any = self.entries.origin_of(entry).resource
            name = field.removeprefix("resource.")
            return str(resource["type"]) if name == "type" else resource["labels"].get(name.removeprefix("labels."))
        known: dict[str, str | int] = {
            "timestamp": entry.at,
            "receiveTimestamp": entry.received,
            "severity": entry.severity,
            "textPayload": entry.text,
            "log_id": entry.log,
            "logName": f"projects/{entry.project}/logs/{entry.log}",
            "insertId": entry.insert_id,
        }
        return known.get(field)

    def _label(self, name: str) -> str | None:
        if name == "job_uid":
            return self.entry.uid
        if name == "task_id":
            return self.entry.task_id or None
        if name == "runnable_index":
            return self.entry.runnable or None
        return self.entries.origin_of(self.entry).labels.get(name)


def _projects(names: Any) -> frozenset[str]:
    if not names:
        raise gax.InvalidArgument("resource_names is empty: at least one project is required.")
    found = set()
    for name in names:
        parts = name.split("/")
        if parts[0] != "projects" or len(parts) < 2 or not parts[1]:
            raise gax.InvalidArgument(f"Invalid resource name {name!r}: the local Batch knows projects/PROJECT only.")
        found.add(parts[1])
    return frozenset(found)


def _descending(order: str) -> bool:
    words = order.split()
    if words not in ([], ["timestamp"], ["timestamp", "asc"], ["timestamp", "desc"]):
        raise gax.InvalidArgument(f'Invalid order_by {order!r}: it must be "timestamp asc" or "timestamp desc".')
    return words[-1:] == ["desc"]


def _span(node: Node, descending: bool, after: tuple[int, int] | None) -> Span:
    uids = required(node, "labels.job_uid")
    low, high = bounds(node, "timestamp")
    received, _ = bounds(node, "receiveTimestamp")
    return Span(sorted(uids) if uids is not None else None, low, high, received, descending, after)


def _token(last: Entry | None, query: int) -> str:
    if last is None:
        return ""
    return base64.urlsafe_b64encode(json.dumps([last.at, last.seq, query]).encode()).decode()


def _position(token: str, query: int) -> tuple[int, int] | None:
    if not token:
        return None
    try:
        at, seq, asked = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        raise gax.InvalidArgument("page_token is invalid.") from None
    if asked != query:
        raise gax.InvalidArgument("page_token does not match the filter, order or resource names of this request.")
    return int(at), int(seq)
