"""What must not be read in a log: access tokens that are none, and the bodies of configs under an odd status."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import small_images as make
from google.auth.exceptions import RefreshError
from hostile_registry import HostileRegistry, error
from raw_server import RawServer, repeated
from registry_calls import NAME, QUICK, outside, refused
from starlette.responses import Response

from airflow_batchstream.clients import fetch
from airflow_batchstream.clients.registry import Registry
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.images.reference import parse

NO_TOKENS = ["SECRET\n", "SECRET\nX-Evil: 1", "SECRET\r", "SECRET\0", "SECRETö", "SECRET more", "", None, 7]


def given(token: Any) -> Any:
    async def source() -> Any:
        return token

    return source


class TestAnAccessTokenThatIsNoHeaderValue:
    @pytest.mark.parametrize("token", NO_TOKENS, ids=repr)
    def test_is_not_sent_and_told_without_being_quoted(self, hostile: HostileRegistry, token: Any) -> None:
        hostile.put(NAME, make.image())
        with pytest.raises(ImageRefused, match="gave something that is no access token") as caught:
            outside(hostile, token=given(token))
        assert "SECRET" not in str(caught.value)
        assert not hostile.seen
        assert caught.value.untold
        assert not caught.value.retryable

    @pytest.mark.parametrize("token", NO_TOKENS, ids=repr)
    def test_is_good_for_no_question_about_the_repository(self, hostile: HostileRegistry, token: Any) -> None:
        async def go() -> object:
            async with Registry(None, given(token), limits=QUICK) as registry:
                return await registry.repository(parse(NAME))

        assert asyncio.run(go()) is None

    def test_is_not_quoted_by_whoever_sends_it_all_the_same(self) -> None:
        async def go(secret: str) -> None:
            async with fetch.Fetcher(QUICK) as fetcher:
                await fetcher.fetch("GET", "https://us-docker.pkg.dev/v2/", limit=10, authorization=secret)

        for secret in ("Bearer SECRET\n", "Bearer SECRETö"):
            with pytest.raises(fetch.FetchError) as caught:
                asyncio.run(go(secret))
            assert "SECRET" not in str(caught.value)

    def test_nor_where_a_server_sends_it_back_in_a_header_that_is_none(self) -> None:
        async def go(address: str) -> None:
            async with fetch.Fetcher(QUICK) as fetcher:
                await fetcher.fetch("GET", f"http://{address}/v2/", limit=10)

        echo = repeated(b"HTTP/1.1 200 OK\r\nYou sent Bearer SECRET\r\n\r\n", b"", most=1)
        with RawServer(echo) as server, pytest.raises(fetch.FetchError, match="did not answer as HTTP does") as caught:
            asyncio.run(go(server.address))
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        "raised",
        [
            RefreshError("No access token in response.", {"accessToken": "SECRET"}),
            RefreshError("<html>you sent SECRET</html>"),
            ValueError("invalid literal: 'SECRET'"),
        ],
    )
    def test_is_not_quoted_from_an_answer_that_holds_none(self, hostile: HostileRegistry, raised: Exception) -> None:
        async def source() -> str:
            raise raised

        with pytest.raises(ImageRefused, match="gave no access token") as caught:
            outside(hostile, token=source)
        assert "SECRET" not in str(caught.value)


class TestABodyUnderAStatusThatIsNotExpected:
    @pytest.mark.parametrize("status", [203, 206, 299, 300, 403, 404, 418, 503])
    def test_is_not_quoted_since_it_may_be_a_config(self, hostile: HostileRegistry, status: int) -> None:
        made = hostile.put(NAME, make.image(config={"config": {"Env": ["DB_PASSWORD=hunter2"]}}))
        config = made.blobs[json.loads(made.body)["config"]["digest"]]
        hostile.always(lambda request: Response(config, status) if "/blobs/" in request.url.path else None)
        said = str(refused(hostile))
        assert f"HTTP {status}" in said
        assert "hunter2" not in said

    def test_is_quoted_where_it_is_a_registry_s_error_and_nowhere_else(self, hostile: HostileRegistry) -> None:
        hostile.fail(lambda _: error(403, "DENIED", "no"), lambda _: error(203, "DENIED", "no"))
        assert 'It said: "DENIED: no".' in str(refused(hostile))
        assert "DENIED" not in str(refused(hostile))


class TestANumberInAHeader:
    @pytest.mark.parametrize("number", [b"\xb2", "٣".encode(), b"1.5", b"-1", b"9" * 5000, b"9" * 9, b"soon", b""])
    def test_that_is_none_or_huge_does_not_end_the_call(self, hostile: HostileRegistry, number: bytes) -> None:
        hostile.put(NAME, make.image())

        def later(_: object) -> Response:
            answer = Response(b"", 429)
            answer.raw_headers.append((b"retry-after", number))
            return answer

        hostile.fail(later)
        assert refused_or_not(hostile) == ""

    @pytest.mark.parametrize(
        ("text", "number"), [("0", 0), ("12", 12), ("²", None), ("٣", None), ("-1", None), ("", None), ("9" * 19, None)]
    )
    def test_is_read_as_http_writes_it(self, text: str, number: int | None) -> None:
        assert fetch.whole_number(text) == number


def refused_or_not(hostile: HostileRegistry) -> str:
    """The error, or nothing."""

    async def go() -> str:
        async with Registry(hostile.address, limits=QUICK) as registry:
            try:
                await registry.digest(parse(NAME))
            except ImageRefused as failure:
                return str(failure)
        return ""

    return asyncio.run(go())
