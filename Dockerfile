# Airflow with this package: what docker-compose.yaml runs (docs/compose.md).
#
# The slim image holds Airflow and no providers. All else comes from the lists of pins that the tests run with, and
# nothing is resolved here: what is in this image is what was tested.
FROM apache/airflow:slim-3.3.2-python3.12

COPY --chown=airflow:root requirements/airflow-3.3.txt requirements/postgres.txt requirements/build.txt /tmp/requirements/
RUN pip install --no-cache-dir --no-deps \
    -r /tmp/requirements/airflow-3.3.txt -r /tmp/requirements/postgres.txt -r /tmp/requirements/build.txt

COPY --chown=airflow:root pyproject.toml README.md LICENSE /tmp/package/
COPY --chown=airflow:root airflow_batchstream /tmp/package/airflow_batchstream
# The folders are made here so that the volumes that are mounted on them belong to the image's user.
RUN pip install --no-cache-dir --no-deps --no-build-isolation /tmp/package \
    && rm -rf /tmp/package /tmp/requirements \
    && mkdir -p /opt/airflow/logs /opt/airflow/local-batch/buckets
