"""Several calls with one purpose: asynchronous I/O around the decisions of :mod:`airflow_batchstream.core`."""
