"""Fails when a module has more than 500 lines: a module is one idea, and an idea fits."""

from __future__ import annotations

import sys
from pathlib import Path

LIMIT = 500
FOLDERS = ("airflow_batchstream", "dags", "scripts", "tests")


def main() -> int:
    """Name every module above the limit; the number of them decides the exit code."""
    top = Path(__file__).resolve().parent.parent
    modules = [path for folder in FOLDERS for path in sorted((top / folder).rglob("*.py"))]
    sizes = {path.relative_to(top): len(path.read_text().splitlines()) for path in modules}
    large = {path: lines for path, lines in sizes.items() if lines > LIMIT}
    for path, lines in large.items():
        print(f"{path}: {lines} lines, {LIMIT} are the limit. Which two ideas are in it?")
    if not large:
        print(f"{len(sizes)} modules, the longest has {max(sizes.values(), default=0)} lines (limit {LIMIT}).")
    return 1 if large else 0


if __name__ == "__main__":
    sys.exit(main())
