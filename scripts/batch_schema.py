"""Write ``airflow_batchstream/core/jobs/batch_v1.json``: what a Batch ``Job`` may hold, as data.

Names, types, enums and output-only marks come from the discovery document inside the installed ``googleapiclient``;
which fields exclude each other is told only by the protos of the installed ``google-cloud-batch``. Google's prose is
left out. Run it after an upgrade of either package; a test compares its answer with the file::

    python scripts/batch_schema.py            # write the file
    python scripts/batch_schema.py --check    # exit code 1 if the file is behind the packages
"""

from __future__ import annotations

import importlib.resources
import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "airflow_batchstream" / "core" / "jobs" / "batch_v1.json"
KINDS = {"google-duration": "duration", "google-datetime": "datetime", "int64": "int64", "int32": "int32"}


def discovery() -> dict[str, Any]:
    """The discovery document of Batch v1."""
    document = importlib.resources.files("googleapiclient.discovery_cache") / "documents" / "batch.v1.json"
    return dict(json.loads(document.read_text(encoding="utf-8")))


def field(prop: dict[str, Any]) -> dict[str, Any]:
    """One property in our few words."""
    if prop.get("readOnly"):
        return {"kind": "output"}
    if prop.get("type") == "array":
        return {**field(prop["items"]), "repeated": True}
    if "additionalProperties" in prop:
        return {**field(prop["additionalProperties"]), "map": True}
    if "$ref" in prop:
        return {"kind": "message", "message": prop["$ref"]}
    if "enum" in prop:
        return {"kind": "enum", "enum": prop["enum"]}
    return {"kind": KINDS.get(prop.get("format", ""), "bool" if prop["type"] == "boolean" else prop["type"])}


def messages(schemas: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every message that a user can write inside a job, ``Job`` first."""
    found: dict[str, dict[str, Any]] = {}
    todo = ["Job"]
    while todo:
        name = todo.pop(0)
        if name not in found:
            found[name] = {key: field(prop) for key, prop in schemas[name]["properties"].items()}
            todo += [f["message"] for f in found[name].values() if f["kind"] == "message"]
    return found


def oneofs(known: dict[str, dict[str, Any]]) -> dict[str, list[list[str]]]:
    """Fields of which only one may be set, by message."""
    from google.cloud import batch_v1

    found: dict[str, list[list[str]]] = {}

    def walk(descriptor: Any, name: str) -> None:
        groups = [[f.json_name for f in one.fields] for one in descriptor.oneofs if len(one.fields) > 1]
        if groups:
            found[name] = groups
        for part in descriptor.fields:
            kind = known[name].get(part.json_name, {})
            if kind.get("kind") == "message" and kind["message"] not in found:
                inner = part.message_type
                walk(inner.fields_by_name["value"].message_type if kind.get("map") else inner, kind["message"])

    walk(batch_v1.Job.pb().DESCRIPTOR, "Job")
    return dict(sorted(found.items()))


def table() -> dict[str, Any]:
    """The whole file, as data."""
    document = discovery()
    known = messages(document["schemas"])
    return {"revision": document["revision"], "messages": known, "oneofs": oneofs(known)}


def written(data: dict[str, Any]) -> str:
    """The whole file, as text: one field a line, so that a change of Google's reads as a change."""
    lines = []
    for name, fields in data["messages"].items():
        inner = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in fields.items())
        lines.append(f"    {json.dumps(name)}: {{\n{inner}\n    }}")
    ones = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in data["oneofs"].items())
    body = ",\n".join(lines)
    return (
        f'{{\n  "revision": {json.dumps(data["revision"])},\n  "messages": {{\n{body}\n  }},\n'
        f'  "oneofs": {{\n{ones}\n  }}\n}}\n'
    )


def main() -> int:
    """Write the file, or say whether it is behind."""
    text = written(table())
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    return int(TARGET.read_text(encoding="utf-8") != text)


if __name__ == "__main__":
    sys.exit(main())
