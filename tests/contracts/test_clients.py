"""Clients: the first-party one is there from the start."""

import pytest

from contracts.steps import within
from domain.clients import ACCESS_TOKEN_LIFETIME, FAMILY_IDLE, FAMILY_LIFETIME, FIRST_PARTY, ClientId


async def test_a_fresh_store_holds_the_first_party_client(store):
    client = await within(store, store.clients.find(FIRST_PARTY))
    assert client.id == FIRST_PARTY
    assert client.name
    assert client.enabled
    assert (client.access_token_lifetime, client.family_idle, client.family_lifetime) == (
        ACCESS_TOKEN_LIFETIME,
        FAMILY_IDLE,
        FAMILY_LIFETIME,
    )


@pytest.mark.parametrize("text", ["", "HEXWARD-API", "ghost", "\x00", "\ud800", "x" * 10_000])
async def test_an_unknown_client_is_none(store, text):
    assert await within(store, store.clients.find(ClientId(text))) is None
