"""TLS, for programs that speak to Google only: a certificate, and an account that signs its own tokens.

Google's clients take no plain text, and no address but a name in Google's domain or in another "universe"
(``GOOGLE_CLOUD_UNIVERSE_DOMAIN``). With the universe ``localhost:PORT`` they call ``batch.localhost:PORT`` with TLS,
and an account of a universe other than Google's signs its tokens itself, so nobody has to be asked for one. Both keys
are made here, on this machine, and are good for nothing else.

:mod:`~airflow_batchstream.emulator.config` has the variables that name these files, ``ports`` tells TLS from the rest.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from airflow_batchstream.emulator.config import ACCOUNT, ROOTS, universe

CERTIFICATE, KEY, ACCOUNT_KEY = "certificate.pem", "key.pem", "account-key.pem"

NAMES = ("localhost", "batch.localhost", "logging.localhost")
"""Spelled out: neither gRPC nor OpenSSL takes a wildcard directly below the root."""
ADDRESSES = ("127.0.0.1", "::1")

VALID = datetime.timedelta(days=800)
RENEW = datetime.timedelta(days=30)

ALPN = ["http/1.1", "h2"]
"""gRPC's clients offer ``h2`` alone; one that offers both (curl) wants REST, which is served over HTTP/1.1."""


def prepare(folder: Path, address: str) -> ssl.SSLContext:
    """Make what is not there yet, write the account for this port, and give the server's side of TLS.

    What is there is used again: programs that run on over a restart of the local Batch know the old certificate.

    :param folder: below the state directory; only its owner may read it.
    :param address: ``HOST:PORT`` of the server.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _holds(folder / CERTIFICATE, folder / KEY):
        _make_certificate(folder)
    _write(folder / ROOTS, (folder / CERTIFICATE).read_bytes() + _public_roots())
    _write(folder / ACCOUNT, json.dumps(_account(folder, address), indent=2).encode())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    context.set_alpn_protocols(ALPN)
    return context


def _holds(certificate: Path, key: Path) -> bool:
    """Whether there is a pair that is still good for a while."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        own = serialization.load_pem_private_key(key.read_bytes(), None).public_key() == found.public_key()
    except (OSError, ValueError):
        return False
    return own and found.not_valid_after_utc - RENEW > _now()


def _make_certificate(folder: Path) -> None:
    """A certificate that vouches for itself, as strict readers want it (RFC 5280)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "airflow-batchstream local Batch")])
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    names = [x509.DNSName(text) for text in NAMES] + [x509.IPAddress(ipaddress.ip_address(a)) for a in ADDRESSES]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(hours=1))
        .not_valid_after(_now() + VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(subject_key, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / KEY, _pem(key))
    _write(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))


def _account(folder: Path, address: str) -> dict[str, str]:
    """A service account's key file, as the console downloads one, of this port's own universe."""
    path = folder / ACCOUNT_KEY
    if not path.exists():
        _write(path, _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return {
        "type": "service_account",
        "project_id": "local-batch",
        "private_key_id": "local-batch",
        "private_key": path.read_text(),
        "client_email": "local-batch@local-batch.iam.gserviceaccount.com",
        "client_id": "0",
        "token_uri": f"https://oauth2.{universe(address)}/token",
        "universe_domain": universe(address),
    }


def _public_roots() -> bytes:
    """What programs trust anyway: a variable that names our certificate alone would cut them off from all else."""
    try:
        import certifi
    except ModuleNotFoundError:
        return b""
    return Path(certifi.where()).read_bytes()


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and for nobody else's eyes from its first byte."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    part.replace(path)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
