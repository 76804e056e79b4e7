"""Run Image-streaming-enabled Google Cloud Batch jobs from Apache Airflow, with their logs in the task log.

Dag files import from :mod:`airflow_batchstream.operators`. This module imports nothing, so that a Dag file costs
no more than Airflow itself.
"""

__version__ = "0.1.0"
