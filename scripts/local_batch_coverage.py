"""Write docs/local-batch-coverage.md: what the local Batch does with every call and every job field of Google's client.

python scripts/local_batch_coverage.py            writes the file
python scripts/local_batch_coverage.py --check    fails if the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from google.cloud import batch_v1

from airflow_batchstream.emulator.batch import BatchHandlers, LocationHandlers, OperationHandlers
from airflow_batchstream.emulator.fields import FIELDS, Treatment, leaves
from airflow_batchstream.emulator.logs import LoggingHandlers
from airflow_batchstream.emulator.surface import surface

FILE = Path(__file__).parents[1] / "docs/local-batch-coverage.md"
HANDLERS = {
    "google.cloud.batch.v1.BatchService": BatchHandlers,
    "google.cloud.location.Locations": LocationHandlers,
    "google.longrunning.Operations": OperationHandlers,
    "google.logging.v2.LoggingServiceV2": LoggingHandlers,
}
HEAD = """# What the local Batch does with every call and field

Made by `scripts/local_batch_coverage.py` from Google's installed clients and `airflow_batchstream/emulator/fields.py`;
a test keeps it so.

- **real**: has its effect here.
- **ignored**: taken, kept and shown, and changes nothing here.
- **refused**: answered with UNIMPLEMENTED and a sentence that says what to do.
- **output**: Batch's own to fill; what a caller sends is dropped.
- **real, ignored when streamed**: Batch itself ignores it with `enableImageStreaming`, and so does the local Batch.
"""


def calls() -> list[str]:
    """A line for each call of the four services."""
    rpcs, routes = surface()
    rest = {route.rpc.path: f"{route.verb} {route.uri}" for route in reversed(routes)}
    lines = ["## Calls", "", "| service | call | REST | |", "|---|---|---|---|"]
    for rpc in rpcs:
        answer = "real" if hasattr(HANDLERS.get(rpc.service), rpc.method) else "refused"
        path = f"`{rest[rpc.path]}`" if rpc.path in rest else ""
        lines.append(f"| {rpc.service.rpartition('.')[2]} | {rpc.name} | {path} | {answer} |")
    return lines


def fields() -> list[str]:
    """A line for each field of a job that holds a value."""
    lines = ["## Fields of a job", "", "| field | | |", "|---|---|---|"]
    for path in leaves(batch_v1.Job.pb().DESCRIPTOR):
        field = FIELDS.get(path)
        treatment = field.treatment if field else Treatment.REFUSED
        says = field.says if field else "Not known to this version of the local Batch."
        lines.append(f"| `{path}` | {treatment} | {says} |")
    return lines


def document() -> str:
    """The whole file."""
    return "\n".join([HEAD, *calls(), "", *fields(), ""])


def main() -> int:
    """Write, or check."""
    if "--check" not in sys.argv[1:]:
        FILE.write_text(document())
        return 0
    if FILE.read_text() == document():
        return 0
    print(f"{FILE} is not what {Path(__file__).name} writes: run it, and look at the difference.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
