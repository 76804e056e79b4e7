"""The HTTP client of a call, made with its first request. Part of :mod:`.fetch`.

Certificates and proxies come from the environment, where they may be wrong: then nothing can be asked, which is told
with the variable, and a name that needs no request is not concerned.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from os import environ

import httpx2

_KEYS = "SSLKEYLOGFILE"
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY")


class NoConnections(Exception):
    """The environment allows no connection.

    :param says: which variable is wrong, and how.
    :param remedy: what to do about it.
    """

    def __init__(self, says: str, remedy: str) -> None:
        super().__init__(says)
        self.says, self.remedy = says, remedy


class Connections:
    """One client for all, or one reason why there is none.

    :param environment: whether proxies and certificates of the environment are used.
    :param transport: how the bytes travel, for tests.
    """

    def __init__(
        self, timeout: httpx2.Timeout, *, environment: bool, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._timeout, self._environment, self._transport = timeout, environment, transport
        self._made: httpx2.AsyncClient | NoConnections | None = None

    @property
    def client(self) -> httpx2.AsyncClient:
        """The client, made if it is not there yet.

        :raises NoConnections: it cannot be made.
        """
        if self._made is None:
            try:
                self._made = httpx2.AsyncClient(
                    timeout=self._timeout, transport=self._transport, trust_env=self._environment
                )
            except (OSError, ImportError, ValueError, httpx2.InvalidURL) as error:
                self._made = at_fault(error, environ)
        if isinstance(self._made, NoConnections):
            raise NoConnections(self._made.says, self._made.remedy)
        return self._made

    async def close(self) -> None:
        """End all connections."""
        if isinstance(self._made, httpx2.AsyncClient):
            await self._made.aclose()


def at_fault(error: Exception, variables: Mapping[str, str]) -> NoConnections:
    """What in the environment makes it impossible to make a client.

    :param error: what was raised. Its words about a proxy are not told: they may hold its password.
    """
    if not isinstance(error, OSError):
        found = [name for one in _PROXIES for name in (one, one.lower()) if variables.get(name)]
        names = " or ".join(found) or "the system's setting"
        if isinstance(error, ImportError):
            says = f"{names} names a SOCKS proxy, which needs the package socksio, and that is not installed"
            return NoConnections(says, f"Install socksio, or let {names} name an HTTP proxy.")
        says = f"{names} names no proxy that can be used"
        return NoConnections(says, f"Write http://HOST:PORT into {names}, or unset it.")
    why = "it holds no certificate in PEM form" if isinstance(error, ssl.SSLError) else error.strerror or "unreadable"
    if error.filename and error.filename == variables.get(_KEYS):
        return NoConnections(f"{_KEYS} names {error.filename}, which cannot be written ({why})", f"Unset {_KEYS}.")
    for name in _CERTIFICATES:
        if variables.get(name):
            says = f"{name} names {variables[name]}, from which no certificates can be read ({why})"
            return NoConnections(says, f"Let {name} name a file with the certificates to trust, or unset it.")
    return NoConnections(f"no TLS connection can be made from here ({why})", "Install the system's certificates.")
