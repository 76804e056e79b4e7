"""Google's message objects -> plain dicts, by their own descriptors, so that nothing of ``google.*`` is imported.

A Dag may hold a ``batch_v1.Job``, or a dict with a ``batch_v1.TaskGroup`` or a ``Duration`` somewhere inside.
"""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """The fields that are set in a proto-plus or protobuf message, under their JSON names; any other value as it is."""
    wrapper = type(value)
    if callable(getattr(wrapper, "pb", None)):
        value = wrapper.pb(value)
    if not (hasattr(value, "DESCRIPTOR") and callable(getattr(value, "ListFields", None))):
        return value
    if value.DESCRIPTOR.full_name == "google.protobuf.Duration":
        return {"seconds": value.seconds, "nanos": value.nanos}
    return {field.json_name: _part(inner) for field, inner in value.ListFields()}


def _part(value: Any) -> Any:
    if isinstance(value, str | bytes):
        return value
    if callable(getattr(value, "items", None)):
        return {key: plain(inner) for key, inner in value.items()}
    if hasattr(value, "__len__") and hasattr(value, "__iter__"):
        return [plain(inner) for inner in value]
    return plain(value)
