"""AccessTokens and KeyMaker: what is signed verifies, and nothing else does."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from adapters.jwt import JwtAccessTokens, JwtKeyMaker
from adapters.jwt.access_tokens import SKEW
from adapters.jwt.ring import JwtSigningKeys
from builders import DAY, NOW, SECOND, a_key, new_id
from domain.clients import FIRST_PARTY
from domain.errors import NotAuthenticated, Unavailable
from domain.keys import ALGORITHMS, LEAD, LINGER, Key, KeyUse, succeed
from domain.sessions import SessionId
from domain.tokens import AccessClaims
from domain.users import UserId

ISSUER = "https://id.example.org"
LIFETIME = timedelta(minutes=5)
SIGNING = ALGORITHMS[KeyUse.SIGN]
_made: dict[tuple[str, int], tuple[dict[str, str], bytes]] = {}


def key_pair(algorithm: str = "ES256", number: int = 0, **changes: Any) -> tuple[Key, bytes]:
    """A key in use since now with its secret half; the material is made once, because that takes time."""
    if (algorithm, number) not in _made:
        public, secret = JwtKeyMaker().make(algorithm)
        _made[algorithm, number] = dict(public), secret
    public, secret = _made[algorithm, number]
    return a_key(algorithm=algorithm, public=public, **changes), secret


def claims_of(**changes: Any) -> AccessClaims:
    claims = AccessClaims(
        issuer=ISSUER,
        user_id=UserId(new_id()),
        audience=(ISSUER,),
        client_id=FIRST_PARTY,
        scope="openid",
        issued_at=NOW,
        expires_at=NOW + LIFETIME,
        token_id=new_id(),
        session_id=SessionId(new_id()),
        auth_time=NOW - DAY,
        acr="urn:example:single",
        amr=("pwd",),
        roles=("manager", "user"),
        authv=(3, 7),
    )
    return replace(claims, **changes)


def ring_of(*keys: tuple[Key, bytes], **options: Any) -> JwtAccessTokens:
    ring = JwtSigningKeys()
    ring.load(keys)
    return JwtAccessTokens(ring, ISSUER, **options)


def ring_under(tokens: JwtAccessTokens) -> JwtSigningKeys:
    """The keys that those tokens are signed with."""
    return tokens._keys


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(segment: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = token.split(".")
    return decoded(header), decoded(payload)


def written(header: dict[str, Any], payload: Any, pair: tuple[Key, bytes]) -> str:
    """A token with any content, truly signed with that key."""
    key, secret = pair
    signed = f"{encoded(header)}.{encoded(payload)}"
    algorithm = jwt.PyJWS().get_algorithm_by_name(key.algorithm)
    return f"{signed}.{encoded(algorithm.sign(signed.encode(), load_der_private_key(secret, None)))}"


def assert_refused(tokens: JwtAccessTokens, token: str, code: str = "token_invalid", now: Any = NOW) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        tokens.verify(token, now)
    assert refusal.value.reason_code == code
    assert len(token) < 20 or token[:20] not in str(refusal.value)


# ------------------------------------------------------------------------------------------------------ what is signed


@pytest.mark.parametrize("algorithm", SIGNING)
def test_what_was_signed_verifies_with_all_its_claims(algorithm):
    tokens = ring_of(key_pair(algorithm))
    claims = claims_of()
    assert tokens.verify(tokens.sign(claims, NOW), NOW) == claims


def test_a_token_has_the_header_and_claims_of_rfc_9068():
    pair = key_pair()
    claims = claims_of()
    header, payload = parts(ring_of(pair).sign(claims, NOW))
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": pair[0].id}
    assert payload == {
        "iss": ISSUER,
        "sub": str(claims.subject),
        "aud": ISSUER,
        "client_id": "hexward-api",
        "scope": "openid",
        "iat": int(NOW.timestamp()),
        "nbf": int(NOW.timestamp()),
        "exp": int((NOW + LIFETIME).timestamp()),
        "jti": str(claims.token_id),
        "sid": str(claims.session_id),
        "auth_time": int((NOW - DAY).timestamp()),
        "acr": "urn:example:single",
        "amr": ["pwd"],
        "roles": ["manager", "user"],
        "authv": [3, 7],
    }


def test_times_are_written_in_whole_seconds_rounded_down():
    tokens = ring_of(key_pair())
    half = timedelta(milliseconds=500)
    claims = claims_of(issued_at=NOW + half, expires_at=NOW + LIFETIME + half)
    verified = tokens.verify(tokens.sign(claims, NOW + half), NOW + half)
    assert (verified.issued_at, verified.expires_at) == (NOW, NOW + LIFETIME)


def test_a_token_for_several_audiences_is_accepted_by_each():
    tokens = ring_of(key_pair())
    claims = claims_of(audience=("https://orders.example.org", ISSUER))
    token = tokens.sign(claims, NOW)
    assert parts(token)[1]["aud"] == ["https://orders.example.org", ISSUER]
    assert tokens.verify(token, NOW) == claims


@pytest.mark.parametrize("algorithm", SIGNING)
def test_other_services_can_verify_with_nothing_but_the_jwks(algorithm):
    tokens = ring_of(key_pair(algorithm))
    token = tokens.sign(claims_of(), NOW)
    published = jwt.PyJWKSet.from_json(ring_under(tokens).jwks(NOW).decode())
    found = published[jwt.get_unverified_header(token)["kid"]]
    assert found.algorithm_name == algorithm
    read = jwt.decode(token, found, audience=ISSUER, issuer=ISSUER, options={"verify_exp": False, "verify_nbf": False,
                                                                             "verify_iat": False})  # fmt: skip
    assert read["roles"] == ["manager", "user"]


# ------------------------------------------------------------------------------------------------- life of the keys


def test_without_a_key_nothing_is_signed():
    with pytest.raises(Unavailable):
        ring_of().sign(claims_of(), NOW)


def test_the_latest_active_key_signs_whatever_its_algorithm():
    old, new = key_pair(), key_pair("EdDSA", created_at=NOW, activates_at=NOW + LEAD[KeyUse.SIGN])
    kept, fresh = succeed([old[0]], new[0])
    tokens = ring_of((kept, old[1]), (fresh, new[1]))
    later = NOW + LEAD[KeyUse.SIGN]
    assert parts(tokens.sign(claims_of(), later - SECOND))[0]["kid"] == kept.id
    assert parts(tokens.sign(claims_of(), later))[0] == {"typ": "at+jwt", "alg": "EdDSA", "kid": fresh.id}


def test_a_rotation_fails_no_verification():
    old, new = key_pair(), key_pair(number=1, activates_at=NOW + LEAD[KeyUse.SIGN])
    kept, fresh = succeed([old[0]], new[0])
    tokens = ring_of((kept, old[1]), (fresh, new[1]))
    turn = NOW + LEAD[KeyUse.SIGN]
    last = tokens.sign(claims_of(issued_at=turn - SECOND, expires_at=turn + DAY), turn - SECOND)
    assert tokens.verify(last, turn + DAY - SECOND)


def test_a_retired_key_verifies_nothing_and_leaves_the_jwks():
    pair = key_pair(superseded_at=NOW + SECOND)
    tokens = ring_of(pair)
    token = tokens.sign(claims_of(expires_at=NOW + 300 * DAY), NOW)
    retired = NOW + SECOND + LINGER[KeyUse.SIGN]
    assert tokens.verify(token, retired - SECOND)  # now in the cache, which must not keep it alive
    assert_refused(tokens, token, now=retired)
    assert json.loads(ring_under(tokens).jwks(retired - SECOND))["keys"]
    assert json.loads(ring_under(tokens).jwks(retired)) == {"keys": []}


def test_a_revoked_key_verifies_nothing_from_the_next_load_on():
    key, secret = key_pair()
    tokens = ring_of((key, secret))
    token = tokens.sign(claims_of(), NOW)
    tokens.verify(token, NOW)
    ring_under(tokens).load([(replace(key, revoked_at=NOW), secret)])
    assert_refused(tokens, token)
    ring_under(tokens).load([])
    assert_refused(tokens, token)


def test_a_ring_that_cannot_be_read_leaves_the_present_one_in_use():
    pair = key_pair()
    tokens = ring_of(pair)
    token = tokens.sign(claims_of(), NOW)
    own = load_der_private_key(pair[1], None)
    wrong = [
        (pair[0], b"not a key"),
        (pair[0], own.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))),
        (pair[0], key_pair("RS256")[1]),
        (key_pair("EdDSA")[0], pair[1]),
        (replace(pair[0], algorithm="HS256"), b"k" * 32),
        (replace(pair[0], algorithm="none"), b""),
    ]
    for key in wrong:
        with pytest.raises(Unavailable) as problem:
            ring_under(tokens).load([key])
        assert problem.value.reason_code == "key_malformed"
        assert tokens.verify(token, NOW)


# ------------------------------------------------------------------------------------------------------------ the JWKS


def test_the_jwks_holds_public_halves_only_newest_first():
    old, new = key_pair(activates_at=NOW - DAY), key_pair("RS256", activates_at=NOW + SECOND)
    keys = json.loads(ring_under(ring_of(old, new)).jwks(NOW))["keys"]
    assert [key["kid"] for key in keys] == [new[0].id, old[0].id]
    assert keys[0].keys() == {"kty", "n", "e", "kid", "use", "alg"}
    assert keys[1].keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert {(key["use"], key["alg"]) for key in keys} == {("sig", "RS256"), ("sig", "ES256")}


def test_the_jwks_is_the_same_bytes_on_every_worker_and_at_every_time():
    old, new = key_pair(), key_pair("EdDSA", activates_at=NOW + SECOND)
    tokens = ring_of(old, new)
    assert (
        ring_under(tokens).jwks(NOW)
        == ring_under(ring_of(new, old)).jwks(NOW + SECOND)
        == ring_under(tokens).jwks(NOW + SECOND)
    )


def test_the_jwks_never_shows_a_public_key_that_does_not_belong_to_the_secret_one():
    key, secret = key_pair()
    stranger = key_pair(number=1)[0].public
    published = json.loads(ring_under(ring_of((replace(key, public=stranger), secret))).jwks(NOW))["keys"][0]
    assert published["x"] == key.public["x"] != stranger["x"]


def test_the_jwks_before_any_key_is_an_empty_set():
    assert json.loads(JwtSigningKeys().jwks(NOW)) == {"keys": []}


# ---------------------------------------------------------------------------------------------------------------- time


def test_a_token_expires_to_the_second():
    tokens = ring_of(key_pair())
    token = tokens.sign(claims_of(), NOW)
    assert tokens.verify(token, NOW + LIFETIME - timedelta(microseconds=1))
    assert_refused(tokens, token, "token_expired", NOW + LIFETIME)
    assert_refused(ring_of(key_pair()), token, now=NOW + LIFETIME)  # of another ring: not "expired" but never good


def test_a_remembered_token_is_refused_once_it_has_expired():
    tokens = ring_of(key_pair())
    token = tokens.sign(claims_of(), NOW)
    for _ in range(3):
        tokens.verify(token, NOW)
    assert_refused(tokens, token, "token_expired", NOW + LIFETIME)
    assert tokens.verify(token, NOW)  # and a refusal is not remembered


def test_a_token_holds_from_its_time_of_issue_on_give_or_take_the_clocks_of_our_servers():
    tokens = ring_of(key_pair(activates_at=NOW - DAY))
    token = tokens.sign(claims_of(), NOW)
    assert_refused(tokens, token, now=NOW - SKEW - timedelta(microseconds=1))
    assert tokens.verify(token, NOW - SKEW)
    assert_refused(tokens, token, now=NOW - SKEW - SECOND)  # also from the cache


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_not_before_and_issued_at_both_count(claim):
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    token = written(header, {**payload, claim: payload[claim] + 10}, pair)
    assert_refused(tokens, token)
    assert tokens.verify(token, NOW + 10 * SECOND)


# ---------------------------------------------------------------------------------------------------------- the attacks


def test_an_unsigned_token_is_refused():
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    for none in ("none", "None", "NONE", ""):
        unsigned = f"{encoded({**header, 'alg': none})}.{encoded(payload)}."
        assert_refused(tokens, unsigned)
        assert_refused(tokens, unsigned + "AA")


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_public_key_is_no_hmac_secret(algorithm):
    pair = key_pair(algorithm)
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    signed = f"{encoded({**header, 'alg': 'HS256'})}.{encoded(payload)}"
    public = load_der_private_key(pair[1], None).public_key()
    secrets = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        ring_under(tokens).jwks(NOW),
        json.dumps(pair[0].public).encode(),
        b"",
    ]
    for secret in secrets:
        forged = hmac.digest(secret, signed.encode(), hashlib.sha256)
        assert_refused(tokens, f"{signed}.{encoded(forged)}")


@pytest.mark.parametrize("algorithm", SIGNING)
def test_the_key_decides_about_the_algorithm(algorithm):
    tokens = ring_of(*(key_pair(name, activates_at=NOW - DAY) for name in SIGNING), key_pair(algorithm, number=0))
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert header["alg"] == algorithm
    for other in {*SIGNING, "ES384", "PS256", "RS512", "HS256"} - {algorithm}:
        assert_refused(tokens, written({**header, "alg": other}, payload, key_pair(algorithm)))


def test_a_token_of_another_key_is_refused_also_under_a_kid_of_ours():
    pair, stranger = key_pair(), key_pair(number=1)
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert_refused(tokens, written(header, payload, stranger))
    assert_refused(tokens, written({**header, "kid": stranger[0].id}, payload, stranger))


@pytest.mark.parametrize(
    "kid", ["", "../../dev/null", "' OR 1=1 --", "0" * 4000, None, 7, ["a"], {"id": "a"}, "\x00", "１"]
)
def test_an_unknown_kid_is_refused(kid):
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert_refused(tokens, written({**header, "kid": kid}, payload, pair))
    del header["kid"]
    assert_refused(tokens, written(header, payload, pair))


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": key_pair(number=1)[0].public},
        {"jku": "https://attacker.example/jwks"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
    ids="+".join,
)
def test_a_header_that_brings_more_than_ours_is_refused(extra):
    pair, stranger = key_pair(), key_pair(number=1)
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert_refused(tokens, written({**header, **extra}, payload, pair))
    assert_refused(tokens, written({**header, **extra}, payload, stranger))


@pytest.mark.parametrize("typ", ["JWT", "logout+jwt", "", "at+jwt ", "application/jwt", None, 1])
def test_only_access_tokens_are_access_tokens(typ):
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert_refused(tokens, written({**header, "typ": typ}, payload, pair))
    del header["typ"]
    assert_refused(tokens, written(header, payload, pair))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_the_type_is_compared_as_a_media_type(typ):
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert tokens.verify(written({**header, "typ": typ}, payload, pair), NOW)


@pytest.mark.parametrize("other", ["https://id.example.org/", "https://ID.example.org", "https://id.example", "", "*"])
def test_issuer_and_audience_are_compared_exactly(other):
    tokens = ring_of(key_pair())
    assert_refused(tokens, tokens.sign(claims_of(issuer=other), NOW))
    assert_refused(tokens, tokens.sign(claims_of(audience=(other,)), NOW))
    assert_refused(tokens, tokens.sign(claims_of(audience=()), NOW))


CLAIMS = ["iss", "sub", "aud", "client_id", "scope", "iat", "nbf", "exp", "jti", "sid", "auth_time", "acr", "amr",
          "roles", "authv"]  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_missing_or_mistyped_claim_is_refused(claim):
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    for value in (None, True, {}, [[]], 1.5, -1, [1, 2, 3], 10**30):
        assert_refused(tokens, written(header, {**payload, claim: value}, pair))
    del payload[claim]
    assert_refused(tokens, written(header, payload, pair))


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b'"x"', b"\xff", b"{" * 5000, b'{"a":' + b"[" * 5000])
def test_signed_nonsense_is_refused(payload):
    pair = key_pair()
    header = {"typ": "at+jwt", "alg": "ES256", "kid": pair[0].id}
    assert_refused(ring_of(pair), written(header, payload, pair))


def test_a_claim_of_a_newer_server_is_ignored():
    pair = key_pair()
    tokens = ring_of(pair)
    header, payload = parts(tokens.sign(claims_of(), NOW))
    assert tokens.verify(written(header, {**payload, "cnf": {"jkt": "x"}}, pair), NOW)


def test_an_over_long_token_is_refused_however_well_it_is_signed():
    pair = key_pair()
    tokens = ring_of(pair)
    fitting = tokens.sign(claims_of(roles=tuple(f"role-{n:04}" for n in range(400))), NOW)
    over = tokens.sign(claims_of(roles=tuple(f"role-{n:04}" for n in range(600))), NOW)
    assert len(fitting) < 8192 < len(over)
    assert tokens.verify(fitting, NOW)
    assert_refused(tokens, over)
    assert_refused(tokens, "a" * 50_000_000)


@pytest.mark.parametrize("algorithm", SIGNING)
def test_an_empty_zero_or_cut_signature_is_refused(algorithm):
    tokens = ring_of(key_pair(algorithm))
    token = tokens.sign(claims_of(), NOW)
    signed, _, signature = token.rpartition(".")
    size = len(base64.urlsafe_b64decode(signature + "=="))
    for forged in (b"", bytes(size), bytes(size - 1) + b"\x01", b"\xff" * size):
        assert_refused(tokens, f"{signed}.{encoded(forged)}")
    for cut in (token[:-1], token[:-4], signed, signed + ".", token + "A", token[1:], "." + token, token + "."):
        assert_refused(tokens, cut)


def test_a_token_has_one_spelling():
    tokens = ring_of(key_pair())
    token = tokens.sign(claims_of(), NOW)
    header, payload, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    unused_bits = alphabet[alphabet.index(signature[-1]) ^ 1]  # 64 bytes leave four bits of the last letter unused
    for other in (
        f"{header}.{payload}.{signature[:-1]}{unused_bits}",
        f"{token}==",
        f"{header}=.{payload}.{signature}",
        f" {token}",
        f"{token}\n",
        f"{header}.{payload}\n.{signature}",
        f"{token}.{signature}",
        f"Bearer {token}",
    ):
        assert_refused(tokens, other)


@given(st.integers(0), st.characters(codec="utf-8"))
def test_a_token_that_differs_in_one_character_is_refused(position, character):
    tokens = ring_of(key_pair())
    token = tokens.sign(claims_of(), NOW)
    position %= len(token)
    changed = token[:position] + character + token[position + 1 :]
    if changed != token:
        assert_refused(tokens, changed)


@given(st.text(alphabet=st.characters(), max_size=60) | st.from_regex(r"[\w.=-]{0,80}"))
def test_any_text_is_refused_without_a_crash(text):
    assert_refused(ring_of(key_pair()), text)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_in_a_header_or_payload_are_refused_without_a_crash(header, payload):
    tokens = ring_of(key_pair())
    assert_refused(tokens, f"{encoded(header)}.{encoded(payload)}.{encoded(b'x' * 64)}")


@pytest.mark.parametrize("header", [b"[" * 5000, b'{"alg":' * 700, b'{"kid":"\xff"}', b'{"kid":"\\ud800"}', b"7"])
def test_a_header_made_to_break_parsers_is_refused(header):
    assert_refused(ring_of(key_pair()), f"{encoded(header)}.{encoded({})}.{encoded(b'x' * 64)}")


def test_lone_surrogates_are_refused():
    tokens = ring_of(key_pair())
    assert_refused(tokens, "\ud800")
    assert_refused(tokens, tokens.sign(claims_of(), NOW) + "\udfff")


# ----------------------------------------------------------------------------------------------------------- the cache


def test_remembering_is_bounded_and_changes_no_answer():
    tokens = ring_of(key_pair(), cache_size=2)
    issued = {tokens.sign(claims, NOW): claims for claims in (claims_of() for _ in range(4))}
    for _ in range(2):
        for token, claims in issued.items():
            assert tokens.verify(token, NOW) == claims


def test_a_forgery_of_a_remembered_token_is_refused():
    pair = key_pair()
    tokens = ring_of(pair)
    token = tokens.sign(claims_of(), NOW)
    tokens.verify(token, NOW)
    header, payload = parts(token)
    signature = token.rpartition(".")[2]
    forged = f"{encoded(header)}.{encoded({**payload, 'sub': str(new_id())})}.{signature}"
    assert_refused(tokens, forged)


# --------------------------------------------------------------------------------------------------------- making keys


def test_every_algorithm_of_the_domain_can_be_made():
    maker = JwtKeyMaker()
    for use, algorithms in ALGORITHMS.items():
        for algorithm in algorithms:
            public, secret = maker.make(algorithm)
            assert bool(public) is (use is not KeyUse.REFRESH)
            assert len(secret) >= 32
            assert "d" not in public
            assert "kid" not in public


def test_an_hmac_key_has_no_public_half():
    public, secret = JwtKeyMaker().make("HS256")
    assert public == {}
    assert len(secret) == 32
    assert secret != JwtKeyMaker().make("HS256")[1]


def test_rsa_keys_have_2048_bits():
    assert load_der_private_key(key_pair("RS256")[1], None).key_size == 2048


@pytest.mark.parametrize("algorithm", ["", "none", "HS512", "ES384", "es256"])
def test_no_other_algorithm_is_made(algorithm):
    with pytest.raises(ValueError, match="no such algorithm"):
        JwtKeyMaker().make(algorithm)


def test_loaded_keys_never_show_their_secret_half():
    pair = key_pair()
    assert repr(ring_under(ring_of(pair)).find(pair[0].id)) == f"SigningKey(key={pair[0]!r})"
