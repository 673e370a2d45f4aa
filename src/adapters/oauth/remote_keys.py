"""Fetching what a client publishes, without becoming its way into our own network (SSRF; RFC 9700, 4; PARITY R21).

A client's address is a stranger's. So: https only, every address that the name resolves to has to be a public one, the
connection goes to exactly the address that was judged (no second resolution: DNS rebinding), no redirect is followed,
nothing compressed is taken, and time and size are bounded while reading.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import SplitResult, urlsplit

MAX_BYTES = 64 * 1024
MAX_HEADER = 16 * 1024
SECONDS = 5.0
ADDRESSES = 4
"""Of a name, tried one after the other while there is time."""

type Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
type Allow = Callable[[str], bool]


class Unreachable(Exception):
    """The document cannot be had; the message says why, for the log."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, as the system finds them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet. Of IPv6 that is what is given out as such (RFC 4291, 2.4), and
    nothing that leads on to an IPv4 address by translation or a tunnel (NAT64, 6to4, Teredo, IPv4-compatible)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:  # the system connects to the IPv4 address
            return is_public(str(address.ipv4_mapped))
        tunnel = address.sixtofour is not None or address.teredo is not None
        if address not in _GLOBAL_UNICAST or tunnel or address.scope_id is not None:
            return False
    return address.is_global and not address.is_multicast


class RemoteDocuments:
    """Fetches small JSON documents. What tells strangers from ourselves, who is trusted, and how long to wait can be
    replaced, for tests."""

    def __init__(
        self,
        *,
        resolve: Resolve = resolve,
        allow: Allow = is_public,
        context: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._resolve, self._allow, self._context, self._seconds = resolve, allow, context, seconds

    async def __call__(self, url: str) -> bytes:
        """The body of a 200; raises Unreachable for anything else."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._get(urlsplit(url))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from error

    async def _get(self, url: SplitResult) -> bytes:
        host, port = url.hostname, url.port or 443
        if url.scheme != "https" or not host or "@" in url.netloc:
            raise Unreachable("not an https address")
        target = f"{url.path or '/'}{'?' + url.query if url.query else ''}"
        addresses = await self._resolve(host, port)
        if not addresses or not all(map(self._allow, addresses)):
            raise Unreachable("the name does not lead to the public internet")
        reader, writer = await self._connected(addresses[:ADDRESSES], port, host)
        try:
            request = (
                f"GET {target} HTTP/1.1\r\nHost: {url.netloc}\r\nAccept: application/json, application/jwk-set+json\r\n"
                "Accept-Encoding: identity\r\nConnection: close\r\nUser-Agent: Hexward\r\n\r\n"
            )
            writer.write(request.encode("ascii"))
            await writer.drain()
            return await _read(reader)
        finally:
            writer.transport.abort()  # close() would wait for a farewell that a stranger may never send

    async def _connected(
        self, addresses: Sequence[str], port: int, host: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first address that has one, under the certificate of that name."""
        if self._context is None:  # reading the trusted roots takes longer than the rest of a request
            self._context = ssl.create_default_context()
        failed: OSError | None = None
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    address, port, ssl=self._context, server_hostname=host, limit=MAX_HEADER
                )
            except OSError as error:
                failed = error
        raise failed or Unreachable("the name has no address")


async def _read(reader: asyncio.StreamReader) -> bytes:
    """One answer (RFC 9112): a length, or chunks, or the end of the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = head[0].partition(" ")
    if not version.startswith("HTTP/1.") or rest.partition(" ")[0] != "200":
        raise Unreachable(f"the answer is {rest[:40]!r}, and redirects are not followed")
    headers: dict[str, str] = {}
    for line in filter(None, head[1:]):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip().lower()
    if headers.get("content-encoding", "identity") != "identity":
        raise Unreachable("the answer is compressed")
    if "json" not in headers.get("content-type", ""):
        raise Unreachable("the answer is no JSON")
    if (coding := headers.get("transfer-encoding")) is not None:
        if coding != "chunked":
            raise Unreachable("the answer is compressed")
        return await _chunks(reader)
    length = headers.get("content-length")
    if length is not None and int(length) > MAX_BYTES:
        raise Unreachable("the answer is too long")
    return await reader.readexactly(int(length)) if length is not None else await _until_the_end(reader)


async def _until_the_end(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while piece := await reader.read(MAX_HEADER):
        body += piece
        if len(body) > MAX_BYTES:
            raise Unreachable("the answer is too long")
    return body


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if size < 0 or len(body) + size > MAX_BYTES:
            raise Unreachable("the answer is too long")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body
