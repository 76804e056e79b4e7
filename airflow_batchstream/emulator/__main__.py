"""``python -m airflow_batchstream.emulator``: the same as ``batchstream emulator``, where the script is not on PATH."""

from __future__ import annotations

from airflow_batchstream.cli.emulator import app

if __name__ == "__main__":
    app(prog_name="batchstream emulator")
