"""What a client publishes is fetched from a real site over TLS, and neither opens our network nor holds anybody up."""

import asyncio
import gzip
import json
import ssl
import time

import pytest

from adapters.oauth import remote_keys
from adapters.oauth.remote_keys import MAX_BYTES, MAX_HEADER, RemoteDocuments, Unreachable, is_public
from tls_site import NAME, SHORT, a_site, document, http, trusting


@pytest.fixture
async def site():
    async with a_site() as there:
        yield there


async def refused(documents, url):
    """Why it is."""
    with pytest.raises(Unreachable) as error:
        await documents(url)
    return str(error.value)


# ------------------------------------------------------------------------------------------------------ what is fetched


async def test_a_document_is_fetched_by_one_plain_request(site):
    site.answer = document({"keys": [1]}, "Set-Cookie: a=b")
    documents = site.documents()
    for _ in range(2):
        assert json.loads(await documents(site.url + "?v=1")) == {"keys": [1]}
    assert site.requests[0] == site.requests[1]  # no cookie comes back
    line, *headers = site.requests[0].strip().split("\r\n")
    assert line == "GET /keys?v=1 HTTP/1.1"
    assert {header.partition(":")[0] for header in headers} == {
        "Host", "Accept", "Accept-Encoding", "Connection", "User-Agent",
    }  # fmt: skip
    assert f"Host: {NAME}:{site.port}" in headers


async def test_proxies_of_the_environment_are_not_asked(site, monkeypatch):
    async with a_site(tls=False) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await site.documents()(site.url)
        assert (site.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize(
    "whole",
    [
        b"Content-Length: 11\r\n\r\n{\"keys\":[]}and more",
        b"\r\n{\"keys\":[]}",
        b"Transfer-Encoding: chunked\r\n\r\n5;note=x\r\n{\"key\r\n6\r\ns\":[]}\r\n0\r\n\r\n",
    ],
    ids=["by its length", "to the end", "in chunks"],
)  # fmt: skip
async def test_each_way_to_write_a_body_is_understood(site, whole):
    async def answer(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\n" + whole)

    site.answer = answer
    assert await site.documents()(site.url) == b'{"keys":[]}'


async def test_the_next_address_of_a_name_is_tried_where_one_does_not_answer(site):
    async def resolve(host, port):
        return ["127.0.0.9", "127.0.0.1"]

    assert await RemoteDocuments(resolve=resolve, allow=bool, context=trusting())(site.url)


# ------------------------------------------------------------------------------------------------------- whom we ask it


INTERNAL = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",  # noqa: S104  # refused, not bound
    "100.127.255.254", "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378::1", "fe80::1",
    "fe80::1%lo", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "4000::1", "x", "",
]  # fmt: skip


@pytest.fixture
def never(monkeypatch):
    """No connection may be tried; those that were."""
    tried = []

    async def open_connection(host, port, **_):
        tried.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    return tried


@pytest.mark.parametrize("address", INTERNAL)
@pytest.mark.parametrize("beside", [[], ["8.8.8.8"]], ids=["alone", "beside a public one"])
async def test_an_internal_address_is_refused_without_a_connection(never, address, beside):
    async def resolve(host, port):
        return [*beside, address]

    said = await refused(RemoteDocuments(resolve=resolve), "https://app.example.org/keys")
    assert (said, never) == ("the name does not lead to the public internet", [])


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "[::1]", "[::]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[fe80::1%25lo]",
     "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460"],
)  # fmt: skip
async def test_no_way_to_write_an_internal_address_leads_to_it(never, host):
    await refused(RemoteDocuments(), f"https://{host}/keys")
    assert never == []


async def test_public_addresses_are_tried(never):
    for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert is_public(address)

        async def resolve(host, port, address=address):
            return [address]

        assert "ConnectionRefusedError" in await refused(RemoteDocuments(resolve=resolve), "https://app.example.org/")
    assert never == ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]


async def test_a_name_that_changes_its_mind_is_connected_to_where_it_was_judged(site):
    """DNS rebinding: the first answer is a good one, and every later one leads inside."""
    answers = ["127.0.0.1"]

    async def resolve(host, port):
        return [answers.pop(0) if answers else "127.0.0.2"]

    inside = await asyncio.start_server(lambda *_: pytest.fail("was connected to"), "127.0.0.2", site.port)
    async with inside:
        documents = RemoteDocuments(resolve=resolve, allow="127.0.0.1".__eq__, context=trusting())
        await documents(site.url)
        assert (site.connections, answers) == (1, [])
        assert await refused(documents, site.url) == "the name does not lead to the public internet"
    assert site.connections == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example.org/keys", "ftp://app.example.org/", "file:///etc/passwd", "https:///keys", "https://", "",
        "https://user@app.example.org/keys", "https://user:pass@app.example.org/keys", "//app.example.org/keys",
        "https://app.example.org:99999/", "https://app.example.org:x/", "https://[::1/", "https://app.example.org/\u00e4",
        "https://" + "x" * 70 + ".example.org/",
    ],
)  # fmt: skip
async def test_what_is_no_https_address_is_not_asked(never, url):
    """The last ones fail later, but likewise."""

    async def resolve(host, port):
        host.encode("idna")
        return ["8.8.8.8"]

    await refused(RemoteDocuments(resolve=resolve), url)
    assert set(never) <= {"8.8.8.8"}


async def test_a_certificate_has_to_be_of_that_name_and_of_somebody_we_trust(site):
    said = await refused(site.documents(), f"https://other.example.org:{site.port}/keys")
    assert "SSLCertVerificationError" in said
    doubting = RemoteDocuments(resolve=site.resolve, allow=bool)
    assert "SSLCertVerificationError" in await refused(doubting, site.url)
    assert site.requests == []
    assert doubting._context is not None
    assert doubting._context.minimum_version >= ssl.TLSVersion.TLSv1_2


# ------------------------------------------------------------------------------------------------ answers to be refused


BOMB = gzip.compress(b"[" * 10_000_000)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(b"", "Location: https://127.0.0.1/", status="302 Found"), "redirects are not followed"),
        (http(b"", "Location: https://8.8.8.8/", status="308 Permanent Redirect"), "redirects are not followed"),
        (http(b"{}", status="404 Not Found"), "404"),
        (http(b"{}", status="500 Oops"), "500"),
        (http(b"{}", status="203 Perhaps"), "203"),
        (http(b"", status="204 Nothing"), "204"),
        (http(b"{}", status="2000 OK"), "2000"),
        (http(BOMB, "Content-Encoding: gzip"), "compressed"),
        (http(BOMB, "Content-Encoding: br, gzip"), "compressed"),
        (http(BOMB, "Transfer-Encoding: gzip, chunked"), "compressed"),
        (http(b"<html>", kind="text/html"), "no JSON"),
        (http(b"{}", kind=""), "no JSON"),
        (http(b"x" * (MAX_BYTES + 1)), "too long"),
        (http(b"{}", f"Content-Length: {10**30}"), "too long"),
        (http(b"{}", "Content-Length: -1"), "ValueError"),
        (http(b"{}", "Content-Length: two"), "ValueError"),
        (http(b"{}", "Content-Length: 3"), "IncompleteReadError"),
        (http(b"{}", "X-Long: " + "x" * 2 * MAX_HEADER), "LimitOverrunError"),
        (http(b"zz\r\n", "Transfer-Encoding: chunked"), "ValueError"),
        (http(b"-5\r\n", "Transfer-Encoding: chunked"), "too long"),
        (http(b"ffffffff\r\n", "Transfer-Encoding: chunked"), "too long"),
        (http(b"1;" + b"x" * 3 * MAX_HEADER, "Transfer-Encoding: chunked"), "LimitOverrunError"),
        (http(b"9\r\n{}", "Transfer-Encoding: chunked"), "IncompleteReadError"),
    ],
)
async def test_an_answer_that_is_not_a_plain_document_is_refused(site, answer, why):
    site.answer = answer
    assert why in await refused(site.documents(), site.url)
    assert site.connections == 1


@pytest.mark.parametrize("whole", [b"", b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"\x00" * 99])
async def test_what_is_no_HTTP_is_refused(site, whole):
    async def answer(writer):
        writer.write(whole)

    site.answer = answer
    await refused(site.documents(), site.url)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("pause", [0.02, 0], ids=["drip", "flood"])
@pytest.mark.parametrize(
    ("before", "piece"),
    [
        (b"", b"x"),
        (b"", b"X: y\r\n"),
        (HEAD + b"\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"Content-Length: 5\r\n\r\n{}", b""),
    ],
    ids=["a status", "headers", "a body", "chunks", "a body that stops"],
)
async def test_what_never_ends_is_ended(site, before, piece, pause):
    async def answer(writer):
        writer.write(before)
        while True:
            writer.write(piece * (1 if pause else 1000))
            await writer.drain()
            await asyncio.sleep(pause)

    site.answer = answer
    began = time.monotonic()
    await refused(site.documents(seconds=SHORT), site.url)
    assert time.monotonic() - began < SHORT + 1
    await asyncio.wait_for(site.left.acquire(), 5)  # the site sees that nobody listens: nothing of ours remains


async def test_a_site_that_never_greets_and_a_name_that_is_never_found_are_given_up():
    async def lost(host, port):
        await asyncio.sleep(60)

    async with a_site(tls=False) as silent:
        assert "TimeoutError" in await refused(silent.documents(seconds=SHORT), silent.url)
        assert "TimeoutError" in await refused(RemoteDocuments(resolve=lost, seconds=SHORT), silent.url)
    assert remote_keys.SECONDS <= 5


async def test_names_that_are_not_there_and_ports_where_nobody_listens_are_told_apart_from_faults_of_ours(site):
    assert "gaierror" in await refused(RemoteDocuments(), "https://nowhere.invalid/keys")
    async with a_site() as gone:
        pass
    assert "ConnectionRefusedError" in await refused(site.documents(), gone.url)
