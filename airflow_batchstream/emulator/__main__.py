"""``python -m airflow_batchstream.emulator``: the same as ``batchstream emulator``, where the script is not on PATH."""

from __future__ import annotations

from airflow_batchstream.cli import main

if __name__ == "__main__":
    import sys

    sys.argv.insert(1, "emulator")
    main()
