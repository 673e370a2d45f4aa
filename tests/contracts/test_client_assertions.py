"""ClientAssertions: whose key signed, and how often a client's address is asked for keys."""

import asyncio
import base64
import json
import time
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from adapters.oauth.assertions import ASKED_AGAIN, FRESH, JwtClientAssertions
from adapters.oauth.remote_keys import Unreachable
from builders import NOW, SECOND
from domain.clients import KEYS_MAX, AuthMethod, Client, ClientId
from domain.errors import Unavailable
from tls_site import SHORT, a_site, document, http

KEY, OTHER = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
CLIENT = Client(ClientId("c1"), "Notes", auth_method=AuthMethod.PRIVATE_KEY_JWT)


def jwks(*keys, **more):
    return {"keys": [{**ECAlgorithm.to_jwk(k.public_key(), as_dict=True), "kid": f"k{n}", **more} for n, k in keys]}


def signed(key=KEY, kid="k1", algorithm="ES256", **changes):
    content = {"iss": "c1", "sub": "c1", "aud": "https://id.example.org", "exp": 4_000_000_000, **changes}
    return jwt.encode(content, key, algorithm, headers={"kid": kid} if kid else {})


@pytest.fixture
def assertions():
    return JwtClientAssertions()


async def test_a_registered_key_verifies_and_another_does_not(assertions):
    client = replace(CLIENT, jwks=jwks((1, KEY)))
    read = await assertions.read(signed(), client, NOW)
    assert (read.issuer, read.subject, read.audience) == ("c1", "c1", ("https://id.example.org",))
    assert await assertions.read(signed(kid=None), client, NOW) is not None
    for wrong in (signed(OTHER), signed(kid="k2"), "x", "a.b.c", signed()[:-3], signed() + "x" * 9000):
        assert await assertions.read(wrong, client, NOW) is None


@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits")
async def test_a_weak_rsa_key_and_one_for_other_uses_verify_nothing(assertions):
    weak = generate_rsa_key(65537, 1024)  # noqa: S505  # weak on purpose
    public = RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True)
    for modulus in (public["n"], "AAAA" * 100 + public["n"]):  # the same number, written longer
        client = replace(CLIENT, jwks={"keys": [{**public, "n": modulus}]})
        assert await assertions.read(signed(weak, None, "RS256"), client, NOW) is None
    for more in ({"use": "enc"}, {"alg": "ES384"}, {"crv": "P-384"}, {"kty": "oct"}):
        assert await assertions.read(signed(), replace(CLIENT, jwks=jwks((1, KEY), **more)), NOW) is None


async def test_whom_an_assertion_claims_to_come_from_can_be_asked_first(assertions):
    assert assertions.claimed(signed(OTHER)) == "c1"
    for wrong in ("", "x", "a.b.c", "." * 5, signed()[:20]):
        assert assertions.claimed(wrong) is None


# ----------------------------------------------------------------------------------------- keys at the client's address


class Address:
    """What a client publishes, and how often it was asked for."""

    def __init__(self, *keys):
        self.keys, self.asked, self.broken = keys, 0, False

    async def __call__(self, url):
        self.asked += 1
        await asyncio.sleep(0)
        if self.broken:
            raise Unreachable("it is away")
        return json.dumps(jwks(*self.keys)).encode()


@pytest.fixture
def address(assertions):
    assertions.fetch = Address((1, KEY))
    return assertions.fetch


PUBLISHING = replace(CLIENT, jwks_uri="https://app.example.org/keys")


async def test_published_keys_are_asked_for_once_by_many_and_again_when_they_are_old(assertions, address):
    reads = await asyncio.gather(*(assertions.read(signed(), PUBLISHING, NOW) for _ in range(20)))
    assert all(reads)
    assert address.asked == 1
    await assertions.read(signed(), PUBLISHING, NOW + FRESH - SECOND)
    assert address.asked == 1
    await assertions.read(signed(), PUBLISHING, NOW + FRESH)
    assert address.asked == 2


async def test_a_new_key_of_the_client_is_found_within_a_minute(assertions, address):
    await assertions.read(signed(), PUBLISHING, NOW)
    address.keys = ((1, KEY), (2, OTHER))
    assert await assertions.read(signed(OTHER, "k2"), PUBLISHING, NOW + ASKED_AGAIN) is not None


async def test_R21_keys_that_nobody_knows_lead_to_one_request_a_minute(assertions, address):
    for n in range(100):
        assert await assertions.read(signed(OTHER, f"unknown{n}"), PUBLISHING, NOW + 0.1 * n * SECOND) is None
    assert address.asked == 1
    await assertions.read(signed(OTHER, "unknown"), PUBLISHING, NOW + ASKED_AGAIN)
    assert address.asked == 2


async def test_R21_an_address_that_is_away_is_not_asked_for_each_request(assertions, address):
    address.broken = True
    for n in range(50):
        with pytest.raises(Unavailable) as refused:
            await assertions.read(signed(), PUBLISHING, NOW + n * SECOND)
        assert refused.value.reason_code == "client_keys_unavailable"
    assert address.asked == 1


# ------------------------------------------------------------------------------------------- keys at a real address


@pytest.fixture
async def site(assertions):
    async with a_site() as there:
        assertions.fetch = there.documents(seconds=SHORT)
        yield there


def publishing(site, id="c1"):
    return replace(CLIENT, id=ClientId(id), jwks_uri=site.url)


async def hangs(writer):
    await asyncio.sleep(60)


async def test_a_set_is_fetched_once_by_many_and_kept_while_it_is_fresh(site, assertions):
    site.answer = document(jwks((1, KEY)))
    client = publishing(site)
    assert all(await asyncio.gather(*(assertions.read(signed(), client, NOW) for _ in range(50))))
    assert await assertions.read(signed(), client, NOW + FRESH - SECOND)
    assert site.connections == 1
    assert await assertions.read(signed(), client, NOW + FRESH)
    assert site.connections == 2


async def test_who_hangs_up_neither_ends_the_request_for_others_nor_makes_another(site, assertions):
    site.answer = document(jwks((1, KEY)))
    client = publishing(site)
    reads = [asyncio.create_task(assertions.read(signed(), client, NOW)) for _ in range(5)]
    await asyncio.sleep(0)
    reads[0].cancel()
    assert all(await asyncio.gather(*reads[1:]))
    assert site.connections == 1


async def test_a_site_that_hangs_holds_up_nobody_but_its_own_client(site, assertions):
    async with a_site() as other:
        other.answer = document(jwks((1, OTHER)))
        site.answer = hangs
        slow = [asyncio.create_task(assertions.read(signed(), publishing(site), NOW)) for _ in range(50)]
        await site.asked.acquire()
        assert await assertions.read(signed(OTHER), publishing(other, "c2"), NOW)
        assert not any(task.done() for task in slow)
        for outcome in await asyncio.gather(*slow, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
    assert site.connections == 1


async def test_a_stranger_who_makes_us_ask_again_holds_up_nobody_even_if_the_site_hangs_or_fails(site, assertions):
    site.answer = document(jwks((1, KEY)))
    client = publishing(site)
    assert await assertions.read(signed(), client, NOW)
    site.answer = hangs
    later = NOW + ASKED_AGAIN
    forged = asyncio.create_task(assertions.read(signed(OTHER, "k9"), client, later))
    for _ in range(2):
        await site.asked.acquire()
    assert await assertions.read(signed(), client, later)  # at once
    assert not forged.done()
    assert await forged is None
    assert await assertions.read(signed(), client, later + SECOND)  # what is fresh stays
    assert await assertions.read(signed(OTHER, "k9"), client, later + SECOND) is None
    assert site.connections == 2


@pytest.mark.parametrize(
    "answer",
    [hangs, http(b"{}", status="500 Oops"), http(b"no JSON"), document([]), document({}), document({"keys": {}})],
    ids=["hangs", "fails", "no JSON", "a list", "no keys", "keys that are no list"],
)
async def test_a_site_that_has_no_key_set_is_asked_once_a_minute_and_old_keys_end(site, assertions, answer):
    client = publishing(site)
    site.answer = document(jwks((1, KEY)))
    assert await assertions.read(signed(), client, NOW)
    site.answer = answer
    for n in range(20):
        with pytest.raises(Unavailable):
            await assertions.read(signed(), client, NOW + FRESH + n * SECOND)
    assert site.connections == 2
    site.answer = document(jwks((1, KEY)))
    assert await assertions.read(signed(), client, NOW + FRESH + ASKED_AGAIN)


async def test_a_client_that_moves_its_keys_is_asked_at_its_new_address(site, assertions):
    site.answer = document(jwks((1, KEY)))
    assert await assertions.read(signed(), publishing(site), NOW)
    async with a_site() as new:
        new.answer = document(jwks((1, OTHER)))
        assert await assertions.read(signed(), publishing(new), NOW) is None
        assert await assertions.read(signed(OTHER), publishing(new), NOW)


PUBLIC = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
STRANGE = [
    1, None, "x", [], {}, {"kty": 1}, {"kty": "oct", "k": "AA"}, {"kty": "XX"}, {"kty": "EC"}, {"kty": "EC", "crv": []},
    {**PUBLIC, "x": 1}, {**PUBLIC, "x": "AA"}, {**PUBLIC, "y": None}, {**PUBLIC, "kid": {}}, {**PUBLIC, "use": ["sig"]},
    {**PUBLIC, "alg": 5}, {"kty": "RSA", "n": 5, "e": 5}, {"kty": "RSA", "n": "A" * 400, "e": "AQAB"},
    {"kty": "RSA", "n": ["x"] * 400, "e": "AQAB"}, {"kty": "OKP", "crv": "Ed25519", "x": {}},
]  # fmt: skip


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
async def test_keys_that_make_no_sense_are_passed_over(site, assertions, algorithm):
    site.answer = document({"keys": [*STRANGE, {**PUBLIC, "kid": "k1"}]})
    header = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).rstrip(b"=").decode()
    _, claims, signature = signed(KEY, None).split(".")
    right = signed(KEY, None) if algorithm == "ES256" else f"{header}.{claims}.{signature}"
    told = await assertions.read(right, publishing(site), NOW)
    assert (told is not None) == (algorithm == "ES256")


async def test_of_too_many_keys_the_one_that_is_named_is_found_and_else_only_some_are_tried(site, assertions):
    many = [(n, OTHER) for n in range(2, 2 + KEYS_MAX)]
    site.answer = document(jwks(*many, (1, KEY)))
    assert await assertions.read(signed(KEY, "k1"), publishing(site), NOW)
    assert await assertions.read(signed(KEY, None), publishing(site), NOW) is None


async def test_a_key_whose_secret_half_is_published_proves_nothing_and_is_not_taken_apart(site, assertions):
    private = generate_rsa_key(65537, 2048)
    whole = RSAAlgorithm.to_jwk(private, as_dict=True)
    site.answer = document({"keys": [{**whole, "kid": "k1"}]})
    assert await assertions.read(signed(private, "k1", "RS256"), publishing(site), NOW) is None
    huge = "x" * 2700  # as it would be to find the primes of
    site.answer = document({"keys": [{"kty": "RSA", "n": huge, "e": "AQAB", "d": huge, "kid": "k1"}]})
    began = time.process_time()
    assert await assertions.read(signed(private, "k1", "RS256"), publishing(site), NOW + FRESH) is None
    assert time.process_time() - began < 1
