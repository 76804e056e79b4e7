"""Decisions as pure functions: no Airflow, no Google client, no clock, no I/O, no randomness of its own."""
