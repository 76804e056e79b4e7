"""An environment that allows no connection: told with the variable, and only where something has to be asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import small_images as make
from hostile_registry import HostileRegistry
from registry_calls import NAME

from airflow_batchstream.core.endpoint import Endpoint
from airflow_batchstream.core.errors import ImageRefused
from airflow_batchstream.core.findings import Verdict
from airflow_batchstream.core.images.scanned import Scan
from airflow_batchstream.services.repair import repair
from airflow_batchstream.services.scan import scan

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
SOCKS, NOT_THERE = "names a SOCKS proxy, which needs the package socksio", "cannot be written (No such file"
WRONG = [
    ("SSL_CERT_FILE", "/not/there.pem", "names /not/there.pem, from which no certificates can be read (No such file"),
    ("SSL_CERT_FILE", "/dev/null", "names /dev/null, from which no certificates can be read (it holds no certificate"),
    ("SSL_CERT_FILE", __file__, "no certificates can be read (it holds no certificate in PEM form)"),
    ("SSL_CERT_FILE", str(Path(__file__).parent), "no certificates can be read"),
    ("ALL_PROXY", "socks5://user:SECRET@127.0.0.1:1", SOCKS),
    ("https_proxy", "socks5://user:SECRET@127.0.0.1:1", SOCKS),
    ("HTTPS_PROXY", "foo://user:SECRET@x", "names no proxy that can be used"),
    ("HTTPS_PROXY", "http://user:SECRET@[::", "names no proxy that can be used"),
    ("HTTPS_PROXY", "http://x:SECRET", "names no proxy that can be used"),
]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def at_google(name: str = NAME, **more: bool) -> Scan:
    return asyncio.run(scan(name, region="us-central1", endpoint=Endpoint(), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(("variable", "value", "words"), WRONG, ids=lambda one: one[:30])
class TestAVariableThatIsWrong:
    def test_is_named_by_a_scan_with_the_way_out(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        found = at_google(tolerant=True)
        (finding,) = (one for one in found.findings if one.rule == "image-readable")
        assert finding.verdict is found.verdict is Verdict.UNKNOWN
        assert variable in finding.says
        assert words in finding.says
        assert variable in finding.remedy
        assert "SECRET" not in str(finding)
        assert found.requests == 0

    def test_is_no_judgement_of_a_repair(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        with pytest.raises(ImageRefused) as caught:
            asyncio.run(repair(f"{NAME}:1", f"{NAME}:2", endpoint=Endpoint()))
        assert caught.value.untold
        assert not caught.value.retryable
        assert words in str(caught.value)

    def test_does_not_matter_to_a_name_that_needs_no_request(
        self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
    ) -> None:
        monkeypatch.setenv(variable, value)
        assert at_google("python:3.12").verdict is Verdict.BROKEN

    def test_does_not_matter_to_a_local_batch(
        self, monkeypatch: pytest.MonkeyPatch, hostile: HostileRegistry, variable: str, value: str, words: str
    ) -> None:
        hostile.put(NAME, make.image())
        monkeypatch.setenv(variable, value)
        found = asyncio.run(scan(NAME, region="us-central1", endpoint=Endpoint.local(hostile.address)))
        assert found.verdict is Verdict.HOLDS


class TestALogOfKeys:
    def test_that_cannot_be_written_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """It is opened where the certificates are named as well."""
        import certifi

        monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "not" / "there"))
        (finding,) = (one for one in at_google(tolerant=True).findings if one.rule == "image-readable")
        assert f"SSLKEYLOGFILE names {tmp_path}/not/there, which {NOT_THERE}" in finding.says
        assert finding.remedy == "Unset SSLKEYLOGFILE."
