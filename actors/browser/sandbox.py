"""The simulated WhatsApp in place of the real one: what a browser must be told for it.

Only a `SANDBOX_URL` brings any of this onto a command line.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import ssl
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from actors.browser.protocol import BrowserError, Unreachable


class SandboxRefused(BrowserError):
    """The sandbox URL is not one of this machine: a real account could end up there."""


def sandbox_address(url: str) -> tuple[str, int]:
    """Return host and port of a sandbox URL. Raises SandboxRefused."""
    parts = urlsplit(url)
    try:
        port = parts.port or 443
    except ValueError as error:
        raise SandboxRefused(f"SANDBOX_URL={url}: {error}") from error
    if parts.scheme != "https" or not parts.hostname:
        raise SandboxRefused(f"SANDBOX_URL={url} must be an https URL, as WhatsApp Web is")
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SandboxRefused(f"SANDBOX_URL={url} must name a loopback address, like 127.0.0.1")
    return host, port


async def network_flags(url: str, timeout: float) -> tuple[str, ...]:
    """Return the flags that put WhatsApp Web's name on the sandbox, and nothing on the net.

    The certificate it serves is pinned as it is now. Raises SandboxRefused, Unreachable.
    """
    host, port = sandbox_address(url)
    try:
        async with asyncio.timeout(timeout):
            pin = await _served_pin(host, port)
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"the sandbox at {url} does not answer: {error}") from error
    there = f"[{host}]" if ":" in host else host
    return (
        f"--host-resolver-rules=MAP web.whatsapp.com {there}:{port}, MAP * ~NOTFOUND, "
        f"EXCLUDE {there}",
        f"--ignore-certificate-errors-spki-list={pin}",
        # A proxy of the environment would resolve the name for itself: the real one.
        "--no-proxy-server",
    )


async def _served_pin(host: str, port: int) -> str:
    # Whoever serves there is the sandbox: the pin only keeps Chromium from
    # accepting any other certificate for the name.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname="localhost")
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    if certificate is None:
        raise OSError("it serves no certificate")
    return spki_pin(certificate)


def spki_pin(certificate: bytes) -> str:
    """Base64 of the SHA-256 of a DER certificate's public key, as Chromium takes it."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()
