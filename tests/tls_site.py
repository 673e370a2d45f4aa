"""A web site on loopback that speaks TLS, and answers as a test wants: what a client publishes its keys on."""

import asyncio
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from adapters.oauth.remote_keys import RemoteDocuments

NAME = "app.example.org"
"""What its certificate says."""
SHORT = 0.3
"""Seconds, for what would never end."""

type Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@cache
def _root() -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root of the tests")])
    usage = x509.KeyUsage(*(n == 5 for n in range(9)))  # to sign certificates
    return key, _signed(name, name, key, key, x509.BasicConstraints(ca=True, path_length=0), usage)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    signer: EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    today = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer, SHA256())


@cache
def _server_context() -> ssl.SSLContext:
    signer, root = _root()
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = _signed(subject, root.subject, key, signer, x509.SubjectAlternativeName([x509.DNSName(NAME)]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "site.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        both.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
        context.load_cert_chain(both)
    return context


@cache
def trusting() -> ssl.SSLContext:
    """What a caller needs to believe the site."""
    return ssl.create_default_context(cadata=_root()[1].public_bytes(Encoding.PEM).decode())


def http(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> Answer:
    """A whole answer, as well-behaved sites give it; a header that is given replaces ours."""
    ours = {"Content-Type": kind, "Content-Length": str(len(body))}
    given = dict(header.split(": ", 1) for header in headers)
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in {**ours, **given}.items())]
    whole = "\r\n".join([*lines, "", ""]).encode() + body

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(whole)

    return answer


def document(content: object, *headers: str) -> Answer:
    """JSON."""
    return http(json.dumps(content).encode(), *headers)


@dataclass
class Site:
    """What was asked of it, and how it answers."""

    answer: Answer = field(default_factory=lambda: document({"keys": []}))
    requests: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    asked: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released at each request, and `left` when its caller has its answer or is gone."""
    left: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    @property
    def url(self) -> str:
        return f"https://{NAME}:{self.port}/keys"

    def documents(self, *, seconds: float = 5.0) -> RemoteDocuments:
        """What fetches from it: a name leads to loopback, which is allowed here, as is the certificate's issuer."""
        return RemoteDocuments(resolve=self.resolve, allow="127.0.0.1".__eq__, context=trusting(), seconds=seconds)

    async def resolve(self, host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            self.asked.release()
            await self.answer(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller had enough
        finally:
            self.left.release()
            writer.close()


@asynccontextmanager
async def a_site(*, host: str = "127.0.0.1", tls: bool = True) -> AsyncIterator[Site]:
    """A site while it is there; without `tls` it takes connections and never greets."""
    site = Site()
    server = await asyncio.start_server(site.serve, host, 0, ssl=_server_context() if tls else None)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        server.close_clients()
