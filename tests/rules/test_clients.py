"""What can be registered of an application, where answers may be sent, and which secrets are accepted."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import DAY, NOW, SECOND, a_client
from domain.clients import (
    ACCESS_TOKEN_LIFETIME_MAX,
    AUDIENCES_MAX,
    KEYS_MAX,
    NAME_MAX,
    SCOPES_MAX,
    SECRETS_MAX,
    URI_MAX,
    URIS_MAX,
    AuthMethod,
    ClientSecret,
    GrantType,
    allowed_scopes,
    check_client,
    is_resource,
    parse_audiences,
    parse_client_name,
    parse_jwks,
    parse_jwks_uri,
    parse_lifetime,
    parse_oauth_scopes,
    parse_redirect_uris,
    secret_hash,
)
from domain.errors import Invalid

CODE, MACHINE, REFRESH = GrantType.AUTHORIZATION_CODE, GrantType.CLIENT_CREDENTIALS, GrantType.REFRESH_TOKEN
CALLBACK = "https://app.example.org/oauth/callback?tenant=acme"
EC = {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "Ag", "kid": "one", "use": "sig", "alg": "ES256"}
RSA = {"kty": "RSA", "n": "AQ", "e": "AQAB", "key_ops": ["verify"], "ext": True}

letters = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=8)
addresses = st.builds("https://{}.example/{}".format, letters, letters)


def a_web_client(**changes):
    """A confidential client that signs people in."""
    usual = {
        "id": "3f0c2d1e9a8b7c6d5e4f3a2b",
        "auth_method": AuthMethod.BASIC,
        "grant_types": frozenset({CODE}),
        "redirect_uris": (CALLBACK,),
        "scopes": ("openid",),
    }
    return a_client(**{**usual, **changes})


def refused(parse, *given):
    """Where and why it is refused; the refusal holds nothing of what was given."""
    with pytest.raises(Invalid) as refusal:
        parse(*given)
    return [(field.pointer, field.code) for field in refusal.value.fields]


# ------------------------------------------------------------------------------------- where answers are sent: matching


LOOK_ALIKES = [
    # case
    "https://app.example.org/oauth/Callback?tenant=acme",
    "https://app.example.org/oauth/callback?tenant=ACME",
    "https://APP.example.org/oauth/callback?tenant=acme",
    "HTTPS://app.example.org/oauth/callback?tenant=acme",
    # scheme and port
    "http://app.example.org/oauth/callback?tenant=acme",
    "https://app.example.org:443/oauth/callback?tenant=acme",
    "https://app.example.org:8443/oauth/callback?tenant=acme",
    "https://app.example.org:/oauth/callback?tenant=acme",
    "//app.example.org/oauth/callback?tenant=acme",
    "/oauth/callback?tenant=acme",
    # more or less of the path
    "https://app.example.org/oauth/callback/?tenant=acme",
    "https://app.example.org//oauth/callback?tenant=acme",
    "https://app.example.org/oauth/callback/more?tenant=acme",
    "https://app.example.org/oauth/callbackx?tenant=acme",
    "https://app.example.org/oauth/callback;x=1?tenant=acme",
    "https://app.example.org/oauth",
    "https://app.example.org/",
    "https://app.example.org",
    # traversal
    "https://app.example.org/oauth/callback/../../evil?tenant=acme",
    "https://app.example.org/oauth/./callback?tenant=acme",
    "https://app.example.org/x/../oauth/callback?tenant=acme",
    "https://app.example.org/oauth/callback/..%2f..%2fevil?tenant=acme",
    "https://app.example.org/oauth\\callback?tenant=acme",
    # encoded characters
    "https://app.example.org/oauth/%63allback?tenant=acme",
    "https://app.example.org/oauth%2Fcallback?tenant=acme",
    "https://app.example.org/oauth/callback%3Ftenant=acme",
    "https://app.example.org/oauth/callback%00?tenant=acme",
    "https://app%2eexample.org/oauth/callback?tenant=acme",
    # more or less of the query
    "https://app.example.org/oauth/callback",
    "https://app.example.org/oauth/callback?",
    "https://app.example.org/oauth/callback?tenant=acme&x=1",
    "https://app.example.org/oauth/callback?tenant=acme&tenant=evil",
    "https://app.example.org/oauth/callback?tenant=evil",
    # fragments
    "https://app.example.org/oauth/callback?tenant=acme#",
    "https://app.example.org/oauth/callback?tenant=acme#x",
    "https://app.example.org/oauth/callback#?tenant=acme",
    # user names
    "https://app.example.org@evil.example/oauth/callback?tenant=acme",
    "https://evil@app.example.org/oauth/callback?tenant=acme",
    "https://@app.example.org/oauth/callback?tenant=acme",
    "https://evil.example\\@app.example.org/oauth/callback?tenant=acme",
    # other hosts
    "https://app.example.org.evil.example/oauth/callback?tenant=acme",
    "https://evilapp.example.org/oauth/callback?tenant=acme",
    "https://evil.app.example.org/oauth/callback?tenant=acme",
    "https://example.org/oauth/callback?tenant=acme",
    "https://app-example.org/oauth/callback?tenant=acme",
    "https://app.example.org./oauth/callback?tenant=acme",
    "https://app.example.com/oauth/callback?tenant=acme",
    # letters that look the same, or are folded to the same
    "https://аpp.example.org/oauth/callback?tenant=acme",
    "https://xn--pp-7kc.example.org/oauth/callback?tenant=acme",
    "https://app.example。org/oauth/callback?tenant=acme",
    "https://ａpp.example.org/oauth/callback?tenant=acme",
    "https://app.example.org/oauth/callbac\u212a?tenant=acme",
    # what is cut off or skipped by readers
    " https://app.example.org/oauth/callback?tenant=acme",
    "https://app.example.org/oauth/callback?tenant=acme ",
    "https://app.example.org/oauth/callback?tenant=acme\n",
    "https://app.example.org/oauth/call\tback?tenant=acme",
    "\u200bhttps://app.example.org/oauth/callback?tenant=acme",
    "https://app.example.org/oauth/callback?tenant=acme\0",
    # several, none, or not even an address
    f"{CALLBACK},{CALLBACK}",
    f"{CALLBACK} {CALLBACK}",
    "https://*.example.org/oauth/callback?tenant=acme",
    "javascript:alert(1)//https://app.example.org/oauth/callback?tenant=acme",
    "",
    "*",
]


def test_of_all_that_looks_like_the_registered_address_only_that_one_passes():
    client = a_web_client()
    assert client.redirects_to(CALLBACK)
    assert [uri for uri in LOOK_ALIKES if client.redirects_to(uri)] == []
    assert len(set(LOOK_ALIKES)) == len(LOOK_ALIKES) > 30


@given(st.lists(addresses, min_size=1, max_size=5, unique=True), addresses)
def test_an_address_passes_exactly_if_it_is_registered(registered, other):
    client = a_web_client(redirect_uris=tuple(registered))
    assert all(map(client.redirects_to, registered))
    assert client.redirects_to(other) == (other in registered)


@given(st.data())
def test_no_change_of_a_character_passes(data):
    at = data.draw(st.integers(0, len(CALLBACK)))
    put = data.draw(st.characters(codec="utf-8"))
    client = a_web_client()
    for uri in (CALLBACK[:at] + put + CALLBACK[at:], CALLBACK[:at] + put + CALLBACK[at + 1 :], CALLBACK[:at]):
        assert client.redirects_to(uri) == (uri == CALLBACK)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
@given(port=st.integers(1, 65535))
def test_the_port_of_a_loopback_address_is_the_system_s_choice(host, port):
    """RFC 8252, 7.3."""
    for registered in (f"http://{host}/cb?x=1", f"http://{host}:8000/cb?x=1"):
        client = a_web_client(auth_method=AuthMethod.NONE, redirect_uris=(registered,))
        assert client.redirects_to(f"http://{host}:{port}/cb?x=1")
        assert client.redirects_to(f"http://{host}/cb?x=1")
    assert a_web_client(redirect_uris=(f"http://{host}",)).redirects_to(f"http://{host}:{port}")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:123456/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:80a/cb",
        "http://127.0.0.1:٨٠/cb",
        "http://127.0.0.1:80/cb/",
        "http://127.0.0.1:80/CB",
        "http://127.0.0.1:80/cb?x",
        "http://127.0.0.1:80/cb#x",
        "http://127.0.0.1:80/cb\n",
        "http://127.0.0.1:80",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1@evil.example:80/cb",
        "http://127.0.0.1.evil.example:80/cb",
        "http://127.0.0.2:80/cb",
        "http://127.1:80/cb",
        "http://2130706433:80/cb",
        "http://0x7f000001:80/cb",
        "http://[::1]:80/cb",
        "http://[::ffff:127.0.0.1]:80/cb",
        "http://localhost:80/cb",
        "https://127.0.0.1:80/cb",
        "HTTP://127.0.0.1:80/cb",
    ],
)
def test_nothing_else_of_a_loopback_address_may_differ(uri):
    client = a_web_client(auth_method=AuthMethod.NONE, redirect_uris=("http://127.0.0.1:8000/cb",))
    assert not client.redirects_to(uri)


@pytest.mark.parametrize(
    "registered", ["http://localhost:8000/cb", "https://127.0.0.1:8000/cb", "https://app.example.org:8000/cb"]
)
def test_of_any_other_address_the_port_counts(registered):
    client = a_web_client(redirect_uris=(registered,))
    assert client.redirects_to(registered)
    assert not client.redirects_to(registered.replace("8000", "8001"))
    assert not client.redirects_to(registered.replace(":8000", ""))


# --------------------------------------------------------------------------------- where answers are sent: registration


@pytest.mark.parametrize(
    "uri",
    [
        CALLBACK,
        "https://app.example.org",
        "https://app.example.org:8443/cb",
        "https://xn--r8jz45g.jp/cb",
        "https://my_host.internal/cb",
        "https://192.0.2.7/cb",
        "https://[2001:db8::1]:8443/cb",
        "http://127.0.0.1/cb",
        "http://127.0.0.1:8000/cb",
        "http://[::1]/cb",
        "http://localhost:3000/cb",
        "com.example.app:/oauth/callback",
        "com.example.app://oauth/callback",
    ],
)
def test_an_address_is_registered_as_it_was_written(uri):
    assert parse_redirect_uris([uri]) == (uri,)
    assert a_web_client(redirect_uris=(uri,)).redirects_to(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "", " ", "*", "app.example.org/cb", "/cb", "//app.example.org/cb", "https:", "https://", "https:///cb",
        "https:/app.example.org/cb", "https:app.example.org/cb", "HTTPS://app.example.org/cb",
        "http://app.example.org/cb", "http://127.0.0.2/cb", "http://2130706433/cb", "http://0.0.0.0/cb",
        "http://localhost.evil.example/cb", "http://127.0.0.1.evil.example/cb", "http://[::2]/cb",
        "https://app.example.org/cb#", "https://app.example.org/cb#x", "com.example.app:/cb#x",
        "https://user@app.example.org/cb", "https://user:word@app.example.org/cb", "https://@app.example.org/cb",
        "http://localhost@evil.example/cb",
        "https://*.example.org/cb", "https://*/cb", "https://app.*.org/cb", "https://app,example.org/cb",
        "https://app.example.org:0/cb", "https://app.example.org:65536/cb", "https://app.example.org:x/cb",
        "https://app.example.org:/cb", "https://app.example.org:-1/cb",
        "https://app..example.org/cb", "https://.example.org/cb", "https://-app.example.org/cb", "https://./cb",
        "https://app%2eexample.org/cb", "https://[::1/cb", "https://[fe80::1%25eth0]/cb", "https://[::1]x/cb",
        "https://[::1]evil.example/cb", "http://[::1].evil.example/cb", "http://evil.example[::1]/cb",
        "https://app.example.org\\@evil.example/cb", "https://app.example.org\\cb",
        "https://app.example.org/c b", "https://app.example.org/cb ", " https://app.example.org/cb",
        "https://app.example.org/cb\n", "https://app.example.org/\tcb", "https://app.example.org/cb\0",
        "https://app.example.org/<x>", 'https://app.example.org/"x"', "https://app.example.org/{x}",
        "https://例え.jp/cb", "https://аpp.example.org/cb", "https://app.example.org/Zoë",
        "https://e\u212aample.org/cb", "https://app.example.org/\u212a", "https://app.example.org/\ud800",
        "javascript:alert(1)", "javascript:/alert(1)", "data:text/html,x", "file:///etc/passwd", "myapp:/cb",
        "mailto:zoe@example.org", "urn:ietf:wg:oauth:2.0:oob", "com.example.app:cb", "com.example.app:",
        "COM.example.app:/cb", "com..app:/cb", "1com.example:/cb",
        "https://app.example.org/" + "x" * URI_MAX,
    ],
)  # fmt: skip
def test_what_no_answer_may_be_sent_to_is_not_registered(uri):
    assert refused(parse_redirect_uris, [CALLBACK, uri]) == [("/redirect_uris/1", "redirect_uri_malformed")]
    assert refused(parse_redirect_uris, [uri], "/post_logout_redirect_uris") == [
        ("/post_logout_redirect_uris/0", "redirect_uri_malformed")
    ]


@given(st.text(max_size=60))
@example("https://x@y/")
def test_whatever_is_registered_is_plain_text_of_one_meaning(text):
    for uri in (text, f"https://{text}", f"https://app.example.org{text}", f"com.example.app:/{text}"):
        try:
            parsed = parse_redirect_uris([uri])
        except Invalid:
            continue
        assert parsed == (uri,)
        assert uri.isascii()
        assert uri.isprintable()
        assert not set(' #"<>\\^`{|}') & set(uri)
        assert "@" not in uri.split("/")[2] if uri.startswith("https://") else True


def test_addresses_are_kept_once_and_bounded():
    assert parse_redirect_uris([CALLBACK, "com.example.app:/cb", CALLBACK]) == (CALLBACK, "com.example.app:/cb")
    assert parse_redirect_uris([]) == ()
    many = [f"https://app.example.org/{n}" for n in range(URIS_MAX + 1)]
    assert len(parse_redirect_uris(many[:URIS_MAX])) == URIS_MAX
    assert refused(parse_redirect_uris, many) == [("/redirect_uris", "too_many")]


# ------------------------------------------------------------------------------------------ what goes with what (check)


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"grant_types": frozenset()}, "/grant_types", "grant_types_missing"),
        ({"redirect_uris": ()}, "/redirect_uris", "redirect_uris_missing"),
        ({"grant_types": frozenset({MACHINE})}, "/redirect_uris", "redirect_uris_missing"),
        (
            {"grant_types": frozenset({MACHINE, REFRESH}), "redirect_uris": ()},
            "/grant_types",
            "grant_types_contradictory",
        ),
        (
            {"grant_types": frozenset({CODE, MACHINE}), "auth_method": AuthMethod.NONE},
            "/grant_types",
            "grant_types_public",
        ),
        ({"auth_method": AuthMethod.PRIVATE_KEY_JWT}, "/jwks", "client_keys_missing"),
        (
            {"auth_method": AuthMethod.PRIVATE_KEY_JWT, "jwks": {"keys": [EC]}, "jwks_uri": "https://x.example/"},
            "/jwks",
            "client_keys_missing",
        ),
        ({"jwks": {"keys": [EC]}}, "/jwks", "client_keys_unused"),
        ({"auth_method": AuthMethod.NONE, "jwks_uri": "https://x.example/"}, "/jwks", "client_keys_unused"),
        ({"auth_method": AuthMethod.NONE, "require_pkce": False}, "/require_pkce", "pkce_required"),
        ({"auth_method": AuthMethod.NONE, "may_introspect": True}, "/introspection", "introspection_public"),
        ({"redirect_uris": ("com.example.app:/cb",)}, "/redirect_uris", "redirect_uri_malformed"),
        ({"redirect_uris": ("https.example.app:/cb",)}, "/redirect_uris", "redirect_uri_malformed"),
    ],
)
def test_what_cannot_work_or_is_not_safe_is_refused(changes, pointer, code):
    assert refused(check_client, a_web_client(**changes)) == [(pointer, code)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"grant_types": frozenset({CODE, REFRESH, MACHINE})},
        {"grant_types": frozenset({MACHINE}), "redirect_uris": ()},
        {"auth_method": AuthMethod.NONE, "redirect_uris": ("com.example.app:/cb", "http://127.0.0.1/cb")},
        {"auth_method": AuthMethod.PRIVATE_KEY_JWT, "jwks": {"keys": [EC]}},
        {"auth_method": AuthMethod.PRIVATE_KEY_JWT, "jwks_uri": "https://app.example.org/jwks"},
        {"require_pkce": False},
        {"may_introspect": True},
        {"redirect_uris": ("http://localhost:3000/cb",)},
    ],
)
def test_what_can_work_is_registered_as_it_is(changes):
    client = a_web_client(**changes)
    assert check_client(client) == client


# -------------------------------------------------------------------------------------------------------- names, scopes


@pytest.mark.parametrize("name", ["Shop", "Zoë’s 店", "می‌خواهم", "a b", "日本　語", "x" * NAME_MAX])
def test_a_name_may_be_in_any_script(name):
    assert parse_client_name(f" {name} ") == name


def test_a_name_is_composed_and_trimmed():
    assert parse_client_name("\tZoe\u0308\n") == "Zoë"


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u200d", "a\0b", "a\nb", "a\u202eb", "a\u200bb", "a\ud800", "a\x1b[31m", "\ue000", "x" * (NAME_MAX + 1)],
)
def test_a_name_that_nobody_could_read_is_refused(name):
    assert refused(parse_client_name, name) == [("/client_name", "client_name_malformed")]


@given(st.text(max_size=NAME_MAX + 20))
def test_a_name_that_was_parsed_parses_as_itself(text):
    try:
        name = parse_client_name(text)
    except Invalid:
        return
    assert 0 < len(name) <= NAME_MAX
    assert parse_client_name(name) == name
    name.encode()


tokens = st.text("abc:/.-_!#[]~", min_size=1, max_size=6)


@given(st.lists(tokens, max_size=12))
def test_scopes_are_separated_by_spaces_and_kept_once_in_order(scopes):
    parsed = parse_oauth_scopes(" ".join(scopes))
    assert parsed == tuple(dict.fromkeys(scopes))
    assert parse_oauth_scopes(" ".join(parsed)) == parsed


@pytest.mark.parametrize(
    "text", [" ", " openid", "openid ", "openid  email", "a\tb", 'a"b', "a\\b", "Zoë", "a\0", "a\n", "x" * 101]
)
def test_what_no_scope_can_be_is_refused(text):
    assert refused(parse_oauth_scopes, text) == [("/scope", "oauth_scope_malformed")]


def test_scopes_are_bounded():
    many = [f"s{n}" for n in range(SCOPES_MAX + 1)]
    assert len(parse_oauth_scopes(" ".join(many[:SCOPES_MAX]))) == SCOPES_MAX
    assert refused(parse_oauth_scopes, " ".join(many)) == [("/scope", "oauth_scope_malformed")]


@given(st.lists(tokens, max_size=8), st.lists(tokens, max_size=8))
def test_a_request_only_narrows_what_is_registered(registered, requested):
    allowed = allowed_scopes(a_web_client(scopes=tuple(registered)), requested)
    assert set(allowed) == set(registered) & set(requested)
    assert list(allowed) == [s for s in dict.fromkeys(requested) if s in registered]


# ------------------------------------------------------------------------------------------- audiences, keys, lifetimes


@pytest.mark.parametrize(
    "uri", ["https://api.example.org", "urn:example:billing", "https://api.example.org/v1?x=1", "a:b"]
)
def test_an_audience_is_an_absolute_uri(uri):
    assert parse_audiences([uri, uri]) == (uri,)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "billing",
        "/v1",
        "//x.example",
        "https://x.example/#",
        "https:",
        "a b:c",
        "ü:x",
        "https://\u212a.example",
        "x:\0",
    ],
)
def test_anything_else_is_no_audience(uri):
    assert not is_resource(uri)
    assert refused(parse_audiences, ["urn:x:y", uri]) == [("/audiences/1", "audience_malformed")]


def test_audiences_are_bounded():
    many = [f"urn:x:{n}" for n in range(AUDIENCES_MAX + 1)]
    assert len(parse_audiences(many[:AUDIENCES_MAX])) == AUDIENCES_MAX
    assert refused(parse_audiences, many) == [("/audiences", "too_many")]


def test_public_keys_are_kept_as_they_are():
    assert parse_jwks({"keys": [EC, RSA], "note": "dropped"}) == {"keys": [EC, RSA]}


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_secret_half_is_never_taken(member):
    for key in (EC, RSA, {"kty": "oct"}):
        assert refused(parse_jwks, {"keys": [EC, {**key, member: "AQ"}]}) == [("/jwks", "client_keys_private")]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, "/jwks"),
        ({"keys": None}, "/jwks"),
        ({"keys": []}, "/jwks"),
        ({"keys": {}}, "/jwks"),
        ({"keys": [EC] * (KEYS_MAX + 1)}, "/jwks"),
        ({"keys": [EC, "x"]}, "/jwks"),
        ({"keys": [EC, {}]}, "/jwks/keys/1"),
        ({"keys": [{**EC, "kty": "DSA"}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "kty": ["EC"]}]}, "/jwks/keys/0"),
        ({"keys": [{"kty": "EC", "crv": "P-256", "x": "AQ"}]}, "/jwks/keys/0"),
        ({"keys": [{"kty": "RSA", "n": 5, "e": "AQAB"}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "kid": "a\0b"}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "kid": "\ud800"}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "a\0b": "x"}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "x5c": [["nested"]]}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "x5c": {"a": 1}}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "x5c": ["A"] * 1000}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "x": "A" * 10_000}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, **{f"m{n}": "x" for n in range(20)}}]}, "/jwks/keys/0"),
        ({"keys": [{**EC, "n": None}]}, "/jwks/keys/0"),
    ],
)
def test_what_is_no_set_of_public_keys_is_refused(document, pointer):
    assert refused(parse_jwks, document) == [(pointer, "client_keys_malformed")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


some_keys = st.fixed_dictionaries(
    {},
    optional={
        "kty": st.sampled_from(["EC", "RSA", "oct"]),
        **dict.fromkeys(("crv", "x", "y", "n", "e", "d"), st.just("AQ") | json_values),
    },
)


@given(st.dictionaries(st.sampled_from(["keys", "x"]), json_values | st.lists(some_keys), max_size=2))
def test_any_json_is_a_set_of_public_keys_or_refused(document):
    try:
        keys = parse_jwks(document)["keys"]
    except Invalid:
        return
    assert keys
    assert all(key["kty"] in {"EC", "RSA", "OKP"} and "d" not in key for key in keys)


def test_keys_are_published_over_https_only():
    assert parse_jwks_uri("https://app.example.org/jwks.json") == "https://app.example.org/jwks.json"
    for uri in (
        "http://localhost/jwks",
        "http://app.example.org",
        "file:///keys",
        "com.example.app:/jwks",
        "",
        "https://",
    ):
        assert refused(parse_jwks_uri, uri) == [("/jwks_uri", "jwks_uri_malformed")]


@given(st.integers(-10, 10**12) | st.floats())
@example(0)
@example(60.0)
@example(60.5)
@example(86_400)
@example(86_401)
def test_a_lifetime_is_within_its_bound(seconds):
    most = ACCESS_TOKEN_LIFETIME_MAX
    if 1 <= seconds <= most.total_seconds() and float(seconds).is_integer():
        assert parse_lifetime(seconds, most, "/x") == timedelta(seconds=seconds)
    else:
        assert refused(parse_lifetime, seconds, most, "/x") == [("/x", "lifetime_malformed")]


# -------------------------------------------------------------------------------------------------------------- secrets


def a_secret(text, created_at=NOW, expires_at=None):
    return ClientSecret(secret_hash(text), created_at, expires_at)


def test_a_secret_is_accepted_until_it_expires_and_no_other_is():
    client = a_web_client(secrets=(a_secret("old", expires_at=NOW + DAY), a_secret("new")))
    assert client.accepts_secret("old", NOW + DAY - SECOND)
    assert not client.accepts_secret("old", NOW + DAY)
    assert client.accepts_secret("new", NOW + 1000 * DAY)
    for wrong in ("", "neW", "new ", "new\0", "ne", "\ud800"):
        assert not client.accepts_secret(wrong, NOW)
    assert not a_web_client().accepts_secret("", NOW)


def test_a_secret_is_not_told():
    assert secret_hash("geheim").hex() not in repr(a_web_client(secrets=(a_secret("geheim"),)))
    assert "hash" not in repr(a_secret("geheim"))


@given(
    st.lists(st.tuples(st.integers(1, 40 * 24), st.integers(0, 30 * 24)), min_size=1, max_size=6),
    st.integers(0, 90 * 24),
)
def test_after_any_rotations_the_latest_is_accepted_and_at_most_the_one_before_it(rotations, later):
    """Rotations as (hours since the last one, hours of overlap)."""
    hour = timedelta(hours=1)
    client, now = a_web_client(secrets=(a_secret("0"),)), NOW
    ends = None
    for number, (after, overlap) in enumerate(rotations, start=1):
        now += after * hour
        client = client.with_secret(a_secret(str(number), now), now, overlap * hour)
        ends = now + overlap * hour
    assert len(client.secrets) <= SECRETS_MAX
    assert client.version == 1 + len(rotations)
    at, last = now + later * hour, len(rotations)
    accepted = {str(n) for n in range(last + 1) if client.accepts_secret(str(n), at)}
    assert accepted == ({str(last), str(last - 1)} if at < ends else {str(last)})


def test_rotating_again_never_lengthens_the_life_of_a_secret():
    client = a_web_client(secrets=(a_secret("old", expires_at=NOW + SECOND),))
    rotated = client.with_secret(a_secret("new"), NOW, 30 * DAY)
    assert not rotated.accepts_secret("old", NOW + SECOND)


def test_a_disabled_or_deleted_client_gets_no_token():
    assert a_web_client().refusal() is None
    assert a_web_client(enabled=False).refusal() == "client_disabled"
    assert a_web_client(deleted_at=NOW).refusal() == "client_disabled"


def test_a_change_is_one_version_on():
    client = a_web_client()
    changed = client.changed(NOW + DAY, name="Other")
    assert changed == replace(client, name="Other", updated_at=NOW + DAY, version=2)
