"""Keys: a rotation that no verifier notices, and a revocation that everybody does."""

from datetime import timedelta

import jwt
import pytest

from application.keys import KeyRing, ListKeys, RevokeKey, RotateKey
from application.sessions import Authenticate, RefreshSession
from builders import SECOND, a_role
from contracts.steps import at_once, within
from domain.audit import Action
from domain.errors import Conflict, Forbidden, Invalid, InvalidGrant, NotAuthenticated, NotFound, Unavailable
from domain.keys import LEAD, LINGER, KeyState, KeyUse, active
from domain.ports import AccessTokens
from use_cases.service import ORIGIN, ROOT

BOTH = pytest.mark.parametrize("use", KeyUse)


async def rotate(server, use=KeyUse.SIGN, algorithm=None):
    fresh = await (await server.get(RotateKey))(await server.operator(), use, algorithm)
    await server.catch_up()
    return fresh


async def revoke(server, key):
    revoked = await (await server.get(RevokeKey))(await server.operator(), key.id)
    await server.catch_up()
    return revoked


async def the_active(server, use=KeyUse.SIGN):
    keys = await within(server.store, server.store.keys.all())
    return active(keys, use, server.clock.now())


async def states(server, use=KeyUse.SIGN):
    now = server.clock.now()
    keys = await (await server.get(ListKeys))(await server.operator())
    return sorted(str(key.state(now)) for key in keys if key.use is use)


async def refresh(server, token):
    return await (await server.get(RefreshSession))(token, ORIGIN)


def signer_of(token):
    return jwt.get_unverified_header(token)["kid"]


# ------------------------------------------------------------------------------------------------------------- rotation


@BOTH
async def test_a_rotation_is_published_first_used_later_and_the_old_key_lingers(service, use):
    first = await the_active(service, use)
    second = await rotate(service, use)
    assert (await the_active(service, use)).id == first.id
    assert await states(service, use) == ["active", "next"]
    service.clock.move(LEAD[use] - SECOND)
    assert (await the_active(service, use)).id == first.id
    service.clock.move(SECOND)
    assert (await the_active(service, use)).id == second.id
    assert await states(service, use) == ["active", "retiring"]
    service.clock.move(LINGER[use])
    assert await states(service, use) == ["active", "retired"]


@BOTH
async def test_while_a_successor_waits_there_is_no_other_rotation(service, use):
    await rotate(service, use)
    with pytest.raises(Conflict) as refused:
        await rotate(service, use)
    assert refused.value.reason_code == "key_rotation_pending"
    service.clock.move(LEAD[use])
    await rotate(service, use)


async def test_of_many_rotations_at_once_one_is_begun(anywhere):
    rotation, operator = await anywhere.get(RotateKey), await anywhere.operator()
    results = await at_once(*(rotation(operator, KeyUse.SIGN) for _ in range(5)))
    assert [r.reason_code for r in results if isinstance(r, Conflict)] == ["key_rotation_pending"] * 4
    assert await states(anywhere) == ["active", "next"]


async def test_every_token_verifies_before_during_and_after_a_rotation(service):
    tokens, signers = await service.sign_in(ROOT), []
    await rotate(service, KeyUse.SIGN)
    await rotate(service, KeyUse.REFRESH)
    verify = (await service.get(AccessTokens)).verify
    for _ in range(40):
        service.clock.move(timedelta(seconds=20))
        before = tokens
        tokens = await refresh(service, tokens.refresh_token)
        for token in (before, tokens):
            verify(token.access_token, service.clock.now())
        signers.append(signer_of(tokens.access_token))
    assert len(dict.fromkeys(signers)) == 2


async def test_a_rotation_may_change_the_algorithm_and_otherwise_keeps_it(service):
    await rotate(service, KeyUse.SIGN, "EdDSA")
    service.clock.move(LEAD[KeyUse.SIGN])
    assert (await rotate(service, KeyUse.SIGN)).algorithm == "EdDSA"
    token = (await service.sign_in(ROOT)).access_token
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    (await service.get(AccessTokens)).verify(token, service.clock.now())


@pytest.mark.parametrize(
    ("use", "algorithm"), [("sign", "HS256"), ("sign", "none"), ("refresh", "ES256"), ("sign", "")]
)
async def test_an_algorithm_that_is_not_made_for_the_use_is_refused(service, use, algorithm):
    keys = await within(service.store, service.store.keys.all())
    if algorithm:
        with pytest.raises(Invalid):
            await rotate(service, KeyUse(use), algorithm)
        assert await within(service.store, service.store.keys.all()) == keys
    else:
        assert (await rotate(service, KeyUse(use), algorithm)).algorithm == "ES256"


# ----------------------------------------------------------------------------------------------------------- revocation


async def test_revoking_the_active_signing_key_ends_what_it_signed_and_puts_a_fresh_one_in_its_place(new_server):
    one, two = await new_server(), await new_server()
    tokens = await one.sign_in(ROOT)
    await revoke(one, await the_active(one))
    await two.catch_up()
    for server in (one, two):
        with pytest.raises(NotAuthenticated):
            await (await server.get(Authenticate))(tokens.access_token, ORIGIN)
    again = await refresh(two, tokens.refresh_token)
    await (await one.get(Authenticate))(again.access_token, ORIGIN)
    assert await states(one) == ["active", "revoked"]


async def test_revoking_the_active_refresh_key_ends_the_refresh_tokens_it_signed(service):
    first = await service.sign_in(ROOT)
    second = await refresh(service, first.refresh_token)
    await revoke(service, await the_active(service, KeyUse.REFRESH))
    for tokens in (first, second):
        with pytest.raises(InvalidGrant):
            await refresh(service, tokens.refresh_token)
    tokens = await service.sign_in(ROOT)
    await refresh(service, tokens.refresh_token)


@BOTH
async def test_revoking_the_active_key_calls_the_waiting_one_early(service, use):
    first = await the_active(service, use)
    second = await rotate(service, use)
    await revoke(service, first)
    assert (await the_active(service, use)).id == second.id
    assert await states(service, use) == ["active", "revoked"]
    await service.sign_in(ROOT)
    service.clock.move(LEAD[use])
    await service.sign_in(ROOT)


@BOTH
async def test_revoking_a_retiring_key_leaves_the_active_one_alone(service, use):
    first = await the_active(service, use)
    second = await rotate(service, use)
    service.clock.move(LEAD[use])
    await revoke(service, first)
    assert (await the_active(service, use)).id == second.id
    assert await states(service, use) == ["active", "revoked"]


async def test_revoking_again_changes_nothing(service):
    key = await the_active(service)
    revoked = await revoke(service, key)
    before = await service.events()
    service.clock.move(SECOND)
    assert await revoke(service, key) == revoked
    assert await service.events() == before
    with pytest.raises(NotFound):
        await (await service.get(RevokeKey))(await service.operator(), "0" * 16)


async def test_revocations_at_once_leave_one_active_key(anywhere):
    key = await the_active(anywhere)
    revocation, operator = await anywhere.get(RevokeKey), await anywhere.operator()
    results = await at_once(*(revocation(operator, key.id) for _ in range(5)))
    assert [r for r in results if isinstance(r, BaseException)] == []
    assert await states(anywhere) == ["active", "revoked"]
    assert [e.action for e in await anywhere.events(subject=f"key:{key.id}")] == [Action.KEY_REVOKED]


# -------------------------------------------------------------------------------------------------------- who may, what


async def test_keys_are_for_those_who_hold_the_permission_everywhere(service):
    await within(service.store, service.store.roles.add(a_role("reader", "keys:read")))
    reader = await service.actor((await service.a_user("reader@example.org", "reader")).user.id)
    manager = await service.actor((await service.a_user("boss@example.org", "manager")).user.id)
    key = await the_active(service)
    assert {key.use for key in await (await service.get(ListKeys))(reader)} == set(KeyUse)
    attempts = [
        (await service.get(ListKeys))(manager),
        (await service.get(RotateKey))(reader, KeyUse.SIGN),
        (await service.get(RevokeKey))(reader, key.id),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            await attempt


async def test_without_its_master_key_a_server_makes_and_reads_no_token(new_server):
    one = await new_server()
    other = await new_server(prepared=False, master_key=bytes(32))
    with pytest.raises(Unavailable) as refused:
        await other.catch_up()
    assert refused.value.reason_code == "master_key_wrong"
    with pytest.raises(Unavailable):
        await other.sign_in(ROOT)
    await one.sign_in(ROOT)


async def test_before_the_first_start_there_are_no_keys(new_server):
    server = await new_server(prepared=False)
    await server.catch_up()
    ring, now = await server.get(KeyRing), server.clock.now()
    assert not ring.ready(now)
    for ask in (lambda: ring.account_key(ROOT), lambda: ring.active_refresh_key(now)):
        with pytest.raises(Unavailable):
            ask()


async def test_account_keys_are_the_same_for_one_name_in_any_case_and_tell_nothing(service):
    ring = await service.get(KeyRing)
    names = ["Zoë@example.org", "ZOË@EXAMPLE.ORG", "zoe\u0308@example.org"]
    [key] = {ring.account_key(name) for name in names}
    assert len(key) == 16
    assert key != ring.account_key("zoe@example.org")
    assert ring.account_key("Zoe.M") == ring.account_key("zoe.m")
    assert ring.account_key("\ud800")


async def test_no_key_shows_its_secret_half(service):
    for key in await (await service.get(ListKeys))(await service.operator()):
        assert key.sealed.hex() not in repr(key)
        assert "d" not in key.public
        assert key.state(service.clock.now()) is KeyState.ACTIVE
