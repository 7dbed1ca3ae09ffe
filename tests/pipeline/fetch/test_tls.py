"""HTTPS: only a certificate that is trusted, valid and the host's own is talked to."""

import contextlib
import datetime
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.pipeline.fetch.fetching import config, listed, sidecar
from tests.pipeline.fetch.server import Web

REFUSED = "tls_failed: no trusted certificate, or no common protocol"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

FETCH = """
import sys
from pipeline.fetch import plan
from pipeline.fetch.config import FetchConfig
from pipeline.fetch.shard import write_shard
from tests.pipeline.fetch.server import hosts
checked = FetchConfig.model_validate_json(sys.stdin.read())
write_shard(*plan.missing(checked, plan.slices(checked)), checked, hosts())
"""
"""In a process of its own: which certificates are trusted is read when Python begins."""


def certificate(path: Path, name: str, end: datetime.datetime) -> Path:
    """Writes a key and a certificate for a host name, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.stem)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - 3 * DAY)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


def shown(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "good": certificate(folder / "good.pem", "localhost", NOW + DAY),
        "of another host": certificate(folder / "other.pem", "elsewhere.test", NOW + DAY),
        "expired": certificate(folder / "expired.pem", "localhost", NOW - DAY),
        "unknown": certificate(folder / "unknown.pem", "localhost", NOW + DAY),
    }


def fetched(folder: Path, certificates: dict[str, Path], trusted: list[str]) -> dict[str, str]:
    """What became of an image from a server with each certificate."""
    bundle = folder / "trusted.pem"
    bundle.write_bytes(b"".join(certificates[name].read_bytes() for name in trusted))
    with contextlib.ExitStack() as stack:
        webs = [stack.enter_context(Web(tls=shown(each))) for each in certificates.values()]
        listed(folder, [web.url("/image/1", "localhost") for web in webs])
        subprocess.run(
            [sys.executable, "-c", FETCH],
            input=config(folder).model_dump_json(),
            text=True,
            env=os.environ | {"SSL_CERT_FILE": str(bundle)},
            check=True,
        )
        assert [web.asked("/image/1") for web in webs] == [
            int(row["status"] == "success") for row in sidecar(folder)
        ]
    found = [row["error_message"] or row["status"] for row in sidecar(folder)]
    return dict(zip(certificates, found, strict=True))


def test_a_trusted_host_is_asked_and_one_with_a_wrong_certificate_is_not(certificates, tmp_path):
    assert fetched(tmp_path, certificates, ["good", "of another host", "expired"]) == {
        "good": "success",
        "of another host": REFUSED,
        "expired": REFUSED,
        "unknown": REFUSED,
    }


def test_what_is_trusted_is_what_the_environment_says(certificates, tmp_path):
    assert fetched(tmp_path, certificates, ["unknown"]) == {
        "good": REFUSED,
        "of another host": REFUSED,
        "expired": REFUSED,
        "unknown": "success",
    }
