"""The self-signed certificate under which the simulator is web.whatsapp.com."""

import base64
import hashlib
import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "web.whatsapp.com"


def ensure(folder: Path) -> tuple[Path, Path]:
    """Return the paths of certificate and key in `folder`, made at first use."""
    certificate_path, key_path = folder / "cert.pem", folder / "key.pem"
    if not (certificate_path.exists() and key_path.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = _make()
        with os.fdopen(
            os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as file:
            file.write(key)
        certificate_path.write_bytes(certificate)
    return certificate_path, key_path


def server_context(folder: Path) -> ssl.SSLContext:
    """What the server listens with."""
    certificate, key = ensure(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def pin_of_pem(pem: bytes) -> str:
    """Return what Chromium's `--ignore-certificate-errors-spki-list` takes for a certificate."""
    certificate = x509.load_pem_x509_certificate(pem)
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def pin_of_file(path: Path) -> str:
    """The pin of a certificate file (the simulator's own is `cert.pem` in its data folder)."""
    return pin_of_pem(path.read_bytes())


def pin_of_url(url: str) -> str:
    """The pin of whatever certificate answers at `url`; blocks for one handshake."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 443)
    return pin_of_pem(ssl.get_server_certificate(address, timeout=5).encode())


def _make() -> tuple[bytes, bytes]:
    # P-256, not RSA: three hundred pages shake hands with this key.
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    names: list[x509.GeneralName] = [
        x509.DNSName(HOST),
        x509.DNSName(f"*.{HOST}"),
        x509.DNSName("localhost"),
    ]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
