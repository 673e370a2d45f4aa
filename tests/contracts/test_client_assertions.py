"""ClientAssertions: whose key signed, and how often a client's address is asked for keys."""

import asyncio
import json
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from adapters.oauth.assertions import ASKED_AGAIN, FRESH, JwtClientAssertions
from adapters.oauth.remote_keys import RemoteDocuments, Unreachable, is_public
from builders import NOW, SECOND
from domain.clients import AuthMethod, Client, ClientId
from domain.errors import Unavailable

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
    client = replace(CLIENT, jwks={"keys": [public]})
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


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.1", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "::1", "::", "fc00::1", "fe80::1", "fe80::1%eth0", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1", "x", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_of_the_public_internet_is_never_connected_to(address):
    assert not is_public(address)


async def test_a_name_that_leads_to_any_internal_address_is_not_asked():
    async def resolve(host, port):
        return ["8.8.8.8", "127.0.0.1"]

    with pytest.raises(Unreachable):
        await RemoteDocuments(resolve=resolve)("https://rebind.example/keys")
    for url in ("http://app.example.org/keys", "https://user@app.example.org/", "file:///etc/passwd", "https:///x"):
        with pytest.raises(Unreachable):
            await RemoteDocuments()(url)
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
