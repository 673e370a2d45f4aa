"""Clients: who may register and change what, what a secret is worth, and what ends with an application."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from application.clients import (
    OVERLAP_MAX,
    AssertionAudience,
    ClientMetadata,
    CreateClient,
    DeleteClient,
    ListClients,
    RotateClientSecret,
    ShowClient,
    UpdateClient,
)
from application.roles import DefineRole, GrantRole, RevokeGrant, RoleChanges
from builders import DAY, SECOND, a_family, a_session
from contracts.steps import at_once, within
from domain import ports
from domain.audit import Action
from domain.clients import (
    ACCESS_TOKEN_LIFETIME,
    FAMILY_IDLE,
    FAMILY_LIFETIME,
    FIRST_PARTY,
    AuthMethod,
    ClientId,
    GrantType,
    IdTokenAlgorithm,
    secret_hash,
)
from domain.errors import Conflict, Forbidden, Invalid, NotFound, Stale, Unavailable
from domain.ports import ClientQuery
from domain.roles import Permission
from domain.scopes import EVERYWHERE, Scope
from domain.sessions import EndReason
from wired import instead

CODE, MACHINE, REFRESH = GrantType.AUTHORIZATION_CODE, GrantType.CLIENT_CREDENTIALS, GrantType.REFRESH_TOKEN
CALLBACK = "https://shop.example.org/callback"
ACME = Scope("org/acme")
KEYS = {"keys": [{"kty": "EC", "crv": "P-256", "x": "AQ", "y": "Ag", "kid": "one"}]}
UNKNOWN = ClientId("0" * 24)


def metadata(**members):
    return ClientMetadata(frozenset(members), **members)


def a_shop(**members):
    """What to register of an ordinary web application."""
    usual = {"client_name": "Shop", "redirect_uris": [CALLBACK], "grant_types": [CODE, REFRESH], "audiences": ["urn:a"]}
    return metadata(**{**usual, **members})


async def register(server, actor=None, place="*", **members):
    return await (await server.get(CreateClient))(actor or await server.operator(), a_shop(**members), place)


async def update(server, client, actor=None, version=None, **members):
    change = await server.get(UpdateClient)
    return await change(actor or await server.operator(), client.id, version, metadata(**members))


async def rotate(server, client, *overlap, actor=None):
    return await (await server.get(RotateClientSecret))(actor or await server.operator(), client.id, *overlap)


async def delete(server, client, actor=None, version=None):
    await (await server.get(DeleteClient))(actor or await server.operator(), client.id, version)


async def show(server, client, actor=None):
    return await (await server.get(ShowClient))(actor or await server.operator(), client.id)


async def listed(server, actor=None, **query):
    page = await (await server.get(ListClients))(actor or await server.operator(), ClientQuery((), **query))
    return [client.name for client in page.items]


async def holding(server, email, *permissions, scope=EVERYWHERE, **times):
    """A signed-in user who holds these permissions by a role of their own."""
    operator = await server.operator()
    name = "role." + email.partition("@")[0]
    await (await server.get(DefineRole))(operator, name, RoleChanges({"permissions"}, permissions=permissions))
    user = (await server.a_user(email)).user.id
    await (await server.get(GrantRole))(operator, user, name, scope, **times)
    return await server.actor(user)


async def signed_in_at(server, client):
    """A refresh-token family of somebody at this application."""
    session = a_session((await server.found(server.root)).id, client_id=client.id)
    family = a_family(session)
    await within(server.store, server.store.sessions.add(session), server.store.families.add(family))
    return family


async def ended(server, family):
    found = await within(server.store, server.store.families.find(family.id))
    return found.end_reason


async def told(server):
    """What the trail says of applications: action, subject, scope and details."""
    return [
        (e.action, e.subject, e.scope, dict(e.details)) for e in await server.events() if e.action.startswith("client.")
    ]


# ------------------------------------------------------------------------------------------------------------- register


async def test_an_application_gets_an_id_and_a_secret_that_is_stored_as_a_hash_only(service):
    made = await register(service)
    client = await show(service, made.client)
    assert client == made.client
    assert re.fullmatch(r"[0-9a-f]{24}", client.id)
    assert re.fullmatch(r"hws_[A-Za-z0-9_-]{43}", made.secret)
    assert [secret.hash for secret in client.secrets] == [secret_hash(made.secret)]
    assert client.accepts_secret(made.secret, service.clock.now() + 1000 * DAY)
    assert made.secret not in repr(made)
    other = await register(service)
    assert other.secret != made.secret
    assert other.client.id != client.id


async def test_what_is_not_given_has_a_default(service):
    client = (await register(service, grant_types=None, audiences=None)).client
    assert client.grant_types == {CODE}
    assert client.scopes == ("openid", "profile", "email")
    assert (client.auth_method, client.id_token_algorithm) == (AuthMethod.BASIC, IdTokenAlgorithm.RS256)
    assert (client.audiences, client.post_logout_redirect_uris, client.jwks, client.jwks_uri) == ((), (), None, None)
    lifetimes = (client.access_token_lifetime, client.family_idle, client.family_lifetime)
    assert lifetimes == (ACCESS_TOKEN_LIFETIME, FAMILY_IDLE, FAMILY_LIFETIME)
    assert (client.enabled, client.require_pkce) == (True, True)
    off = (client.trusted, client.may_introspect, client.token_url_audience, client.built_in)
    assert off == (False,) * 4
    assert (client.version, client.scope_path) == (1, EVERYWHERE)
    assert client.created_at == client.updated_at == service.clock.now()


async def test_a_machine_asks_for_nothing_about_people_unless_told_otherwise(service):
    machine = await register(service, grant_types=[MACHINE], redirect_uris=[])
    assert machine.client.scopes == ()
    assert machine.secret is not None


async def test_all_that_can_be_registered_is_kept(service):
    client = (
        await register(
            service,
            place="org/acme",
            client_name=" Zoë’s 店 ",
            post_logout_redirect_uris=["https://shop.example.org/"],
            scope="openid roles shop:read",
            token_endpoint_auth_method=AuthMethod.PRIVATE_KEY_JWT,
            jwks=KEYS,
            id_token_signed_response_alg=IdTokenAlgorithm.ES256,
            audiences=["urn:a", "urn:b"],
            access_token_lifetime=60,
            refresh_token_idle=3600,
            refresh_token_lifetime=7200,
            require_pkce=False,
            trusted=True,
            introspection=True,
            assertion_audience=AssertionAudience.ISSUER_OR_TOKEN_URL,
            enabled=False,
        )
    ).client
    assert (client.name, client.scope_path) == ("Zoë’s 店", ACME)
    assert client.post_logout_redirect_uris == ("https://shop.example.org/",)
    assert (client.scopes, client.audiences) == (("openid", "roles", "shop:read"), ("urn:a", "urn:b"))
    assert (client.jwks, client.secrets) == (KEYS, ())
    lifetimes = (client.access_token_lifetime, client.family_idle, client.family_lifetime)
    assert lifetimes == (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=2))
    assert (client.require_pkce, client.trusted, client.may_introspect) == (False, True, True)
    assert (client.token_url_audience, client.enabled) == (True, False)
    assert client.id_token_algorithm is IdTokenAlgorithm.ES256


async def test_only_who_proves_itself_by_a_secret_gets_one(service):
    public = await register(service, token_endpoint_auth_method=AuthMethod.NONE)
    by_keys = await register(service, token_endpoint_auth_method=AuthMethod.PRIVATE_KEY_JWT, jwks=KEYS)
    assert [(made.secret, made.client.secrets) for made in (public, by_keys)] == [(None, ())] * 2


@pytest.mark.parametrize(
    ("members", "place", "code"),
    [
        ({"client_name": " "}, "*", "client_name_malformed"),
        ({"redirect_uris": ["http://shop.example.org"]}, "*", "redirect_uri_malformed"),
        ({"redirect_uris": []}, "*", "redirect_uris_missing"),
        ({"post_logout_redirect_uris": ["/"]}, "*", "redirect_uri_malformed"),
        ({"grant_types": []}, "*", "grant_types_missing"),
        ({"scope": "a  b"}, "*", "oauth_scope_malformed"),
        ({"audiences": ["x"]}, "*", "audience_malformed"),
        ({"jwks": KEYS}, "*", "client_keys_unused"),
        ({"jwks_uri": "http://x.example"}, "*", "jwks_uri_malformed"),
        ({"token_endpoint_auth_method": AuthMethod.PRIVATE_KEY_JWT}, "*", "client_keys_missing"),
        ({"token_endpoint_auth_method": AuthMethod.NONE, "introspection": True}, "*", "introspection_public"),
        ({"access_token_lifetime": 86_401}, "*", "lifetime_malformed"),
        ({"refresh_token_idle": 0}, "*", "lifetime_malformed"),
        ({"refresh_token_lifetime": 91 * 86_400}, "*", "lifetime_malformed"),
        ({}, "a//b", "scope_malformed"),
    ],
)
async def test_a_refused_registration_leaves_nothing_behind(service, members, place, code):
    before = await service.events()
    with pytest.raises(Invalid) as refused:
        await register(service, place=place, **members)
    assert [field.code for field in refused.value.fields] == [code]
    assert (await service.events(), await listed(service)) == (before, [])


async def test_the_trail_names_what_was_given_and_never_tells_it(service):
    made = await register(service, place="org/acme", scope="openid secret:scope")
    client = await update(service, made.client, client_name="Other", audiences=["urn:a"], scope="openid secret:scope x")
    rotated = await rotate(service, client, 3600)
    await delete(service, client)
    subject = f"client:{client.id}"
    given = "audiences client_name grant_types redirect_uris scope"
    assert await told(service) == [
        (Action.CLIENT_CREATED, subject, ACME, {"fields": given}),
        (Action.CLIENT_UPDATED, subject, ACME, {"fields": "client_name scope"}),
        (Action.CLIENT_SECRET_ROTATED, subject, ACME, {"fields": "secrets", "overlap_seconds": 3600}),
        (Action.CLIENT_DELETED, subject, ACME, {"families_ended": 0}),
    ]
    said = repr(await service.events())
    for value in (made.secret, rotated.secret, "secret:scope", "Shop", CALLBACK):
        assert value not in said


# -------------------------------------------------------------------------------------------------- who may see, change


async def test_applications_are_seen_and_changed_where_the_right_to_it_reaches(service):
    here = (await register(service, place="org/acme/shop", client_name="Here")).client
    there = (await register(service, place="org/acme-2", client_name="There")).client
    above = (await register(service, client_name="Above")).client
    reader = await holding(service, "reader@example.org", "clients:read", scope=ACME)
    writer = await holding(service, "writer@example.org", "clients:*", scope=ACME)
    assert await listed(service, reader) == await listed(service, writer) == ["Here"]
    assert set(await listed(service)) == {"Here", "There", "Above"}
    for actor in (reader, writer):
        assert await show(service, here, actor) == here
        for client in (there, above, replace(here, id=UNKNOWN), replace(here, id=FIRST_PARTY)):
            with pytest.raises(NotFound):
                await show(service, client, actor)
    for client in (there, above, replace(here, id=UNKNOWN)):
        for attempt in (
            update(service, client, writer, client_name="X"),
            rotate(service, client, actor=writer),
            delete(service, client, writer),
        ):
            with pytest.raises(NotFound):
                await attempt
    for attempt in (
        register(service, reader, "org/acme"),
        update(service, here, reader, client_name="X"),
        rotate(service, here, actor=reader),
        delete(service, here, reader),
        register(service, writer),
        register(service, writer, "org/acme-2"),
    ):
        with pytest.raises(Forbidden):
            await attempt
    await register(service, writer, "org/acme")
    await update(service, here, writer, client_name="X")
    await rotate(service, here, actor=writer)
    await delete(service, here, writer)


async def test_who_may_see_none_is_refused_and_not_shown_an_empty_list(service):
    nobody = await service.actor((await service.a_user("nobody@example.org")).user.id)
    client = (await register(service)).client
    for attempt in (
        listed(service, nobody),
        show(service, client, nobody),
        update(service, client, nobody, client_name="X"),
        rotate(service, client, actor=nobody),
        delete(service, client, nobody),
        register(service, nobody),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_who_sees_an_application_and_may_only_change_others_is_refused(service):
    client = (await register(service, place="org/acme")).client
    actor = await holding(service, "one@example.org", "clients:read")
    writer = await holding(service, "two@example.org", "clients:write", scope=Scope("org/other"))
    await (await service.get(GrantRole))(await service.operator(), writer.facts.user_id, "role.one")
    writer = await service.actor(writer.facts.user_id)
    for someone in (actor, writer):
        with pytest.raises(Forbidden):
            await update(service, client, someone, client_name="X")


# -------------------------------------------------------------------------------- nobody hands on what they do not hold


STRONG = [{"trusted": True}, {"scope": "openid hexward"}]


@pytest.mark.parametrize("strong", STRONG, ids=["trusted", "own scope"])
async def test_R08_a_strong_application_is_registered_only_by_who_holds_everything_everywhere(service, strong):
    now = service.clock.now()
    weak = await holding(service, "weak@example.org", "clients:*", "users:*", "*:read")
    somewhere = await holding(service, "somewhere@example.org", "*:*", scope=ACME)
    for_a_time = await holding(service, "for.a.time@example.org", "*:*", expires_at=now + DAY)
    before = await service.events()
    for actor in (weak, somewhere, for_a_time):
        with pytest.raises(Forbidden, match=re.escape("does not hold *:* at *")):
            await register(service, actor, "org/acme", **strong)
    client = (await register(service)).client
    for actor in (weak, for_a_time):
        with pytest.raises(Forbidden):
            await update(service, client, actor, **strong)
    assert [e.subject for e in (await service.events())[len(before) :]] == [f"client:{client.id}"]
    assert await show(service, client) == client
    root = await service.actor(service.root)
    await register(service, root, "org/acme", **strong)
    await update(service, client, root, **strong)


@pytest.mark.parametrize("strong", STRONG, ids=["trusted", "own scope"])
async def test_R08_nobody_takes_over_an_application_that_is_stronger_than_they_are(service, strong):
    actor = await holding(service, "weak@example.org", "clients:*")
    made = await register(service, **strong)
    before = await service.events()
    weaker = {"trusted": False, "scope": "openid"}
    attempts = [
        rotate(service, made.client, actor=actor),
        delete(service, made.client, actor),
        *(
            update(service, made.client, actor, **members)
            for members in (
                {"redirect_uris": ["https://evil.example/"]},
                {"post_logout_redirect_uris": ["https://evil.example/"]},
                {"token_endpoint_auth_method": AuthMethod.POST},
                {"jwks": KEYS},
                {"jwks_uri": "https://evil.example/"},
                {"audiences": []},
                {"enabled": False},
                {"client_name": "Other"},
                weaker,
                {},
            )
        ),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            await attempt
    assert await service.events() == before
    assert await show(service, made.client) == made.client
    weak = await update(service, made.client, **weaker)
    await rotate(service, weak, actor=actor)


async def test_R08_authority_that_was_lost_a_moment_ago_is_handed_on_no_more(service):
    boss = (await service.a_user("boss@example.org", "admin")).user.id
    actor = await service.actor(boss)
    made = await register(service, actor, trusted=True)
    await (await service.get(RevokeGrant)).by_role(await service.operator(), boss, "admin")
    assert actor.decide(Permission("*", "*"), EVERYWHERE).allowed, "the worker has not heard of it yet"
    for attempt in (
        register(service, actor, trusted=True),
        register(service, actor),
        update(service, made.client, actor, client_name="X"),
        rotate(service, made.client, actor=actor),
        delete(service, made.client, actor),
    ):
        with pytest.raises(Forbidden):
            await attempt


async def test_built_in_applications_are_shown_and_not_changed_even_by_the_operator(service):
    built_in = await within(service.store, service.store.clients.find(FIRST_PARTY))
    assert await show(service, built_in) == built_in
    assert built_in.built_in
    for attempt in (
        update(service, built_in, client_name="X"),
        update(service, built_in, enabled=False),
        rotate(service, built_in),
        delete(service, built_in),
    ):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.reason_code == "client_built_in"
    assert await listed(service) == []


# --------------------------------------------------------------------------------------------------------------- change


async def test_an_application_is_changed_from_the_version_that_was_read(service):
    client = (await register(service)).client
    service.clock.move(DAY)
    changed = await update(service, client, version=1, client_name="Other", refresh_token_idle=60)
    expected = replace(
        client, name="Other", family_idle=timedelta(minutes=1), version=2, updated_at=service.clock.now()
    )
    assert changed == expected == await show(service, client)
    with pytest.raises(Stale):
        await update(service, client, version=1, client_name="Third")
    with pytest.raises(Stale):
        await delete(service, client, version=1)
    before = await service.events()
    assert await update(service, client, version=2, client_name="Other", audiences=["urn:a"]) == changed
    assert await service.events() == before


async def test_none_is_what_a_member_is_where_it_was_never_given(service):
    members = {
        "post_logout_redirect_uris": ["https://shop.example.org/"], "scope": "openid", "audiences": ["urn:a"],
        "access_token_lifetime": 60, "refresh_token_idle": 60, "refresh_token_lifetime": 60, "require_pkce": False,
        "introspection": True, "enabled": False, "assertion_audience": AssertionAudience.ISSUER_OR_TOKEN_URL,
        "id_token_signed_response_alg": IdTokenAlgorithm.ES256, "token_endpoint_auth_method": AuthMethod.POST,
        "trusted": True, "grant_types": [CODE, REFRESH],
    }  # fmt: skip
    plain = (await register(service, grant_types=None, audiences=None)).client
    client = (await register(service, **members)).client
    cleared = await update(service, client, **dict.fromkeys(members))
    same = {"id": "", "secrets": (), "version": 1}
    assert replace(cleared, **same) == replace(plain, **same)


async def test_what_would_not_work_together_any_more_is_refused(service):
    client = (await register(service, require_pkce=False)).client
    for members, code in (
        ({"redirect_uris": None}, "redirect_uris_missing"),
        ({"grant_types": [REFRESH]}, "redirect_uris_missing"),
        ({"jwks": KEYS}, "client_keys_unused"),
        ({"client_name": ""}, "client_name_malformed"),
    ):
        with pytest.raises(Invalid) as refused:
            await update(service, client, **members)
        assert [field.code for field in refused.value.fields] == [code]
    assert await show(service, client) == client


async def test_how_an_application_proves_itself_stays_except_how_it_sends_its_secret(service):
    made = await register(service)
    changed = await update(service, made.client, token_endpoint_auth_method=AuthMethod.POST)
    assert changed.auth_method is AuthMethod.POST
    assert changed.accepts_secret(made.secret, service.clock.now())
    public = (await register(service, token_endpoint_auth_method=AuthMethod.NONE)).client
    by_keys = (await register(service, token_endpoint_auth_method=AuthMethod.PRIVATE_KEY_JWT, jwks=KEYS)).client
    for client, method, more in (
        (made.client, AuthMethod.NONE, {}),
        (made.client, AuthMethod.PRIVATE_KEY_JWT, {"jwks": KEYS}),
        (public, AuthMethod.BASIC, {}),
        (public, None, {}),
        (public, AuthMethod.PRIVATE_KEY_JWT, {"jwks": KEYS}),
        (by_keys, AuthMethod.POST, {"jwks": None}),
        (by_keys, AuthMethod.NONE, {"jwks": None}),
    ):
        with pytest.raises(Invalid) as refused:
            await update(service, client, token_endpoint_auth_method=method, **more)
        assert [field.code for field in refused.value.fields] == ["auth_method_fixed"]


# ------------------------------------------------------------------------------------------------------------ what ends


async def test_disabling_ends_the_refresh_tokens_and_enabling_revives_none(anywhere):
    client = (await register(anywhere)).client
    other = (await register(anywhere, client_name="Other")).client
    families = [await signed_in_at(anywhere, client) for _ in range(3)]
    elsewhere = await signed_in_at(anywhere, other)
    disabled = await update(anywhere, client, enabled=False)
    assert disabled.refusal() == "client_disabled"
    assert {await ended(anywhere, family) for family in families} == {EndReason.CLIENT_DISABLED}
    assert (await told(anywhere))[-1][3] == {"fields": "enabled", "families_ended": 3}
    await update(anywhere, client, enabled=True)
    assert {await ended(anywhere, family) for family in families} == {EndReason.CLIENT_DISABLED}
    assert (await told(anywhere))[-1][3] == {"fields": "enabled"}
    assert await ended(anywhere, elsewhere) is None


LESS = [
    {"scope": "openid"},
    {"scope": ""},
    {"audiences": ["urn:b"]},
    {"audiences": None},
    {"grant_types": [CODE]},
]
NOT_LESS = [
    {"scope": "email openid profile"},
    {"scope": "openid profile email roles"},
    {"audiences": ["urn:b", "urn:a"]},
    {"grant_types": [CODE, REFRESH, MACHINE]},
    {"redirect_uris": ["https://shop.example.org/other"]},
    {"access_token_lifetime": 1, "client_name": "Other", "introspection": True},
]


@pytest.mark.parametrize("members", LESS, ids=str)
async def test_taking_something_away_ends_the_refresh_tokens_that_may_hold_it(service, members):
    client = (await register(service)).client
    family = await signed_in_at(service, client)
    await update(service, client, **members)
    assert await ended(service, family) is EndReason.REVOKED
    assert (await told(service))[-1][3]["families_ended"] == 1


async def test_what_nobody_was_asked_about_ends_when_an_application_is_trusted_no_more(service):
    client = (await register(service, trusted=True)).client
    family = await signed_in_at(service, client)
    await update(service, client, trusted=False)
    assert await ended(service, family) is EndReason.REVOKED


@pytest.mark.parametrize("members", NOT_LESS, ids=str)
async def test_any_other_change_leaves_the_refresh_tokens_alone(service, members):
    client = (await register(service)).client
    family = await signed_in_at(service, client)
    changed = await update(service, client, **members)
    assert changed.version == 2
    assert await ended(service, family) is None
    assert "families_ended" not in (await told(service))[-1][3]


async def test_a_deleted_application_is_gone_with_its_secrets_and_refresh_tokens(anywhere):
    made = await register(anywhere)
    family = await signed_in_at(anywhere, made.client)
    await delete(anywhere, made.client, version=1)
    assert await ended(anywhere, family) is EndReason.CLIENT_DISABLED
    assert await listed(anywhere) == []
    for attempt in (
        show(anywhere, made.client),
        update(anywhere, made.client, enabled=True),
        rotate(anywhere, made.client),
        delete(anywhere, made.client),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await told(anywhere))[-1] == (
        Action.CLIENT_DELETED, f"client:{made.client.id}", EVERYWHERE, {"families_ended": 1}
    )  # fmt: skip


class Noted:
    """The store's clients, and what `save` was given."""

    def __init__(self, clients):
        self._clients, self.saved = clients, []

    def __getattr__(self, name):
        return getattr(self._clients, name)

    async def save(self, client):
        self.saved.append(client)
        await self._clients.save(client)


async def test_of_a_deleted_application_no_secret_is_stored(new_server):
    server = await new_server()
    noted = Noted(server.store.clients)
    server = await new_server(instead(ports.Clients, noted))
    await delete(server, (await register(server)).client)
    [saved] = noted.saved
    assert (saved.secrets, saved.enabled, saved.deleted_at) == ((), False, server.clock.now())


class SilentFamilies:
    """Families that cannot be ended: the last step but one fails."""

    def __init__(self, families):
        self._families = families

    def __getattr__(self, name):
        return getattr(self._families, name)

    async def end_at(self, *_):
        raise Unavailable("the database went away")


async def test_R11_what_fails_at_its_last_step_leaves_nothing_behind(new_server):
    server = await new_server()
    client = (await register(server)).client
    failing = await new_server(instead(ports.Families, SilentFamilies(server.store.families)))
    before = await server.events()
    for attempt in (
        update(failing, client, enabled=False),
        update(failing, client, scope="openid"),
        delete(failing, client),
    ):
        with pytest.raises(Unavailable):
            await attempt
    assert await show(server, client) == client
    assert await server.events() == before


# -------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    ("overlap", "lasts"),
    [
        ((), timedelta(hours=24)),
        ((0,), timedelta(0)),
        ((1,), SECOND),
        ((OVERLAP_MAX,), timedelta(days=30)),
    ],
    ids=["untold", "none", "a second", "the most"],
)
async def test_after_a_rotation_the_secret_before_stays_good_as_long_as_told(service, overlap, lasts):
    made = await register(service)
    rotated = await rotate(service, made.client, *overlap)
    client = await show(service, made.client)
    now = service.clock.now()
    assert client.version == 2
    assert client.accepts_secret(rotated.secret, now + 1000 * DAY)
    if lasts:
        assert client.accepts_secret(made.secret, now + lasts - SECOND / 2)
    assert not client.accepts_secret(made.secret, now + lasts)


async def test_rotating_twice_leaves_the_last_two_and_zero_ends_all_others(service):
    first = await register(service)
    second = await rotate(service, first.client)
    third = await rotate(service, first.client)
    now, client = service.clock.now(), await show(service, first.client)
    assert [client.accepts_secret(made.secret, now) for made in (first, second, third)] == [False, True, True]
    fourth = await rotate(service, first.client, 0)
    client = await show(service, first.client)
    assert [client.accepts_secret(made.secret, now) for made in (second, third, fourth)] == [False, False, True]


async def test_a_rotation_that_cannot_be_changes_nothing(service):
    made = await register(service)
    for overlap in (-1, OVERLAP_MAX + 1, 10**30):
        with pytest.raises(Invalid) as malformed:
            await rotate(service, made.client, overlap)
        assert [(f.pointer, f.code) for f in malformed.value.fields] == [("/overlap_seconds", "overlap_malformed")]
    assert await show(service, made.client) == made.client
    for method, keys in ((AuthMethod.NONE, None), (AuthMethod.PRIVATE_KEY_JWT, KEYS)):
        other = await register(service, token_endpoint_auth_method=method, jwks=keys)
        with pytest.raises(Conflict) as refused:
            await rotate(service, other.client)
        assert refused.value.reason_code == "client_without_secret"


# ------------------------------------------------------------------------------------------------------------ at once


async def test_of_many_changes_of_one_version_at_once_one_is_made(anywhere):
    client = (await register(anywhere)).client
    results = await at_once(*(update(anywhere, client, version=1, client_name=f"Name {n}") for n in range(8)))
    assert [type(r) for r in results if isinstance(r, BaseException)] == [Stale] * 7
    [changed] = [r for r in results if not isinstance(r, BaseException)]
    assert await show(anywhere, client) == changed


async def test_of_many_rotations_at_once_all_succeed_and_the_last_two_secrets_are_good(anywhere):
    made = await register(anywhere)
    rotated = await at_once(*(rotate(anywhere, made.client) for _ in range(6)))
    assert [r for r in rotated if isinstance(r, BaseException)] == []
    client, now = await show(anywhere, made.client), anywhere.clock.now()
    assert client.version == 7
    assert sum(client.accepts_secret(r.secret, now) for r in (made, *rotated)) == 2


async def test_an_application_disabled_and_changed_at_once_is_disabled(anywhere):
    client = (await register(anywhere)).client
    family = await signed_in_at(anywhere, client)
    results = await at_once(
        update(anywhere, client, enabled=False),
        update(anywhere, client, client_name="Other"),
        rotate(anywhere, client),
        update(anywhere, client, audiences=["urn:a", "urn:b"]),
    )
    assert [r for r in results if isinstance(r, BaseException)] == []
    found = await show(anywhere, client)
    assert (found.enabled, found.name, found.audiences, found.version) == (False, "Other", ("urn:a", "urn:b"), 5)
    assert len(found.secrets) == 2
    assert await ended(anywhere, family) is EndReason.CLIENT_DISABLED


async def test_of_two_deletions_at_once_one_finds_nothing(anywhere):
    client = (await register(anywhere)).client
    results = await at_once(delete(anywhere, client), delete(anywhere, client))
    assert sorted(type(r).__name__ for r in results) == ["NoneType", "NotFound"]


async def test_applications_are_listed_by_creation_and_found_by_a_part_of_their_name(service):
    for name in ("Shop", "Zoë’s Shop", "Reports"):
        await register(service, client_name=name)
        service.clock.move(SECOND)
    assert await listed(service) == ["Shop", "Zoë’s Shop", "Reports"]
    assert await listed(service, text="ZOË") == ["Zoë’s Shop"]
    assert await listed(service, text="sHOP") == ["Shop", "Zoë’s Shop"]
    page = await (await service.get(ListClients))(await service.operator(), ClientQuery((), limit=2))
    assert await listed(service, limit=2, after=page.after) == ["Reports"]
