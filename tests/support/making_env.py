"""``make env`` as a user runs it, on a file of a test's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "env.py"


def make_env(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the script, with the machine's Python and nothing installed."""
    return subprocess.run(["python3", "-S", str(SCRIPT), str(path)], capture_output=True, text=True, check=False)


def secrets_of(path: Path) -> dict[str, str]:
    """The file's variables."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
