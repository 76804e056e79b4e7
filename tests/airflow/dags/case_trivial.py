"""No Batch in it: shows that the harness itself works."""

from __future__ import annotations

import logging

from airflow.sdk import DAG, task

with DAG(dag_id="case_trivial", schedule=None, catchup=False):

    @task(retries=0)
    def speak(params: dict[str, object] | None = None) -> dict[str, int]:
        """Five lines of two levels."""
        log = logging.getLogger("case.trivial")
        for n in range(5):
            log.log(logging.WARNING if n % 2 else logging.INFO, "line %d", n)
        return {"lines": 5}

    @task
    def each(n: int) -> int:
        """One of three."""
        return n * n

    speak()
    each.expand(n=[1, 2, 3])
