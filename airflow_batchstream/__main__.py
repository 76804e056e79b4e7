"""``python -m airflow_batchstream``: the same as ``batchstream``, where the script is not on PATH."""

from __future__ import annotations

from airflow_batchstream.cli import main

if __name__ == "__main__":
    main()
