"""The region of a scan task: what is none must not become words about an image's location."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_batchstream.core.errors import InvalidInput
from airflow_batchstream.operators.images import ImageScanOperator

try:
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import AirflowFailException

IMAGE = "us-docker.pkg.dev/acme/batch/train:1"
NONE = [
    ("us", "multi-region"),
    ("us-central1-a", "Write us-central1"),
    ("US-CENTRAL1", "Write us-central1"),
    (5, "'5'"),
]


class TestARegionThatIsNone:
    @pytest.mark.parametrize(("region", "words"), NONE)
    def test_is_refused_when_the_dag_is_parsed(self, region: Any, words: str) -> None:
        with pytest.raises(InvalidInput, match=rf"No image was looked at, 1 problem:\n.* region: .*{words}"):
            ImageScanOperator(task_id="t", image_uri=IMAGE, region=region)

    @pytest.mark.parametrize(("region", "words"), [*NONE, ("None", "is no region"), (["us-central1"], "is no region")])
    def test_is_refused_once_it_was_rendered(self, region: Any, words: str) -> None:
        operator = ImageScanOperator(task_id="t", image_uri=IMAGE, region="{{ params.region }}")
        operator.region = region
        with pytest.raises(AirflowFailException, match=rf"No image was looked at.*\n.* region: .*{words}"):
            operator.execute({})

    @pytest.mark.parametrize("region", ["us-central1", "us-moon1", "", None, "{{ params.region }}"])
    def test_is_neither_one_that_is_not_known_here_nor_none_at_all(self, region: str | None) -> None:
        assert ImageScanOperator(task_id="t", image_uri=IMAGE, region=region).region == region
