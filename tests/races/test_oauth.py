"""Codes, consents and applications under races at two servers: one use, and nothing that outlives what it hangs on."""

from urllib.parse import parse_qs, urlsplit

import pytest

from application.browser import Browsers
from application.clients import (
    ClientMetadata,
    CreateClient,
    DeleteClient,
    RotateClientSecret,
    UpdateClient,
)
from application.consents import WithdrawConsent
from application.oauth.authentication import Basic
from application.oauth.authorization import Answer, Authorize, ConsentNeeded
from application.oauth.grants import Token
from application.open_sessions import EndAllSessions
from application.sign_in import SignIn
from application.users import DeleteUser, SetPassword, SuspendUser
from domain.authorization import Parameters
from domain.clients import AuthMethod, GrantType
from races.conftest import codes
from relying_party import CALLBACK, challenge_of
from use_cases.service import ORIGIN, PASSWORD

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.usefixtures("again"), pytest.mark.long]

ZOE = "zoe@example.org"
VERIFIER = "v" * 43
ALIVE = """
SELECT count(*) FROM hexward.families f JOIN hexward.sessions s ON s.id = f.session_id
WHERE f.client_id = $1 AND f.ended_at IS NULL AND s.ended_at IS NULL
"""


class Story:
    """An application and a person who is signed in at a browser."""

    def __init__(self, pair):
        self.pair = pair

    async def begin(self):
        operator = await self.pair.one.operator()
        metadata = ClientMetadata(
            ("client_name", "redirect_uris", "grant_types", "scope", "token_endpoint_auth_method"),
            client_name="Notes",
            redirect_uris=[CALLBACK],
            grant_types=[GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN],
            scope="openid email offline_access",
            token_endpoint_auth_method=AuthMethod.BASIC,
        )
        self.made = await (await self.pair.one.get(CreateClient))(operator, metadata)
        self.client = self.made.client.id
        self.user = (await self.pair.one.a_user(ZOE)).user.id
        self.session = await (await self.pair.one.get(SignIn)).in_browser(ZOE, PASSWORD, ORIGIN)
        for server in self.pair.servers:
            await server.catch_up()
        return self

    async def browser(self, server):
        browsers = await server.get(Browsers)
        return await browsers.signed_in(browsers.cookie(self.session))

    async def code(self, server=None, scope="openid offline_access", **more):
        """A code of the person's, who allows what is asked."""
        server = server or self.pair.one
        step = await self.asked(server, scope, **more)
        if isinstance(step, ConsentNeeded):
            step = await self.allow(server, step)
        return code_of(step)

    async def asked(self, server, scope, **more):
        request = {
            "response_type": "code", "client_id": self.client, "redirect_uri": CALLBACK, "scope": scope, "state": "s",
            "code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256", **more,
        }  # fmt: skip
        authorize = await server.get(Authorize)
        return await authorize.begin(Parameters(request.items()), await self.browser(server), ORIGIN)

    async def allow(self, server, step):
        authorize = await server.get(Authorize)
        return await authorize.decide(step.ticket, await self.browser(server), ORIGIN, allow=True)

    def redeeming(self, code):
        data = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
        return self.asking(data)

    def refreshing(self, token):
        return self.asking({"grant_type": "refresh_token", "refresh_token": token})

    def asking(self, data):
        async def ask(server):
            basic = Basic(self.client, self.made.secret)
            return await (await server.get(Token))(Parameters(data.items()), basic, ORIGIN)

        return ask

    def doing(self, use_case, id, *more):
        async def do(server):
            await (await server.get(use_case))(await server.operator(), id, *more)

        return do

    async def alive(self):
        return await self.pair.ask(ALIVE, self.client)

    async def count(self, action, outcome="success"):
        query = "SELECT count(*) FROM hexward.audit_events WHERE action = $1 AND outcome = $2"
        return await self.pair.ask(query, action, outcome)


def code_of(step):
    assert isinstance(step, Answer), step
    return parse_qs(urlsplit(step.location).query)["code"][0]


def tokens_of(results):
    return [result for result in results if hasattr(result, "refresh_token")]


@pytest.fixture
async def story(pair):
    return await Story(pair).begin()


async def test_a_code_is_redeemed_once_at_two_servers_and_the_other_tries_end_what_it_made(story, pair):
    code = await story.code()
    results = await pair.race(*([story.redeeming(code)] * 50))
    assert codes(results) == {"done": 1, "invalid_grant": 49}
    assert await story.count("authorization_code.redeemed") == 1
    assert await story.alive() == 0
    [made] = tokens_of(results)
    assert codes(await pair.race(story.refreshing(made.refresh_token))) == {"invalid_grant": 1}


async def test_codes_of_one_browser_at_once_open_one_session_of_the_application(story, pair):
    issued = [await story.code(scope="openid") for _ in range(8)]
    assert codes(await pair.race(*map(story.redeeming, issued))) == {"done": 8}
    query = "SELECT count(*) FROM hexward.sessions WHERE client_id = $1 AND ended_at IS NULL"
    assert await pair.ask(query, story.client) == 1
    assert await story.alive() == 8


ENDS = {
    "user suspended": lambda story: story.doing(SuspendUser, story.user),
    "user deleted": lambda story: story.doing(DeleteUser, story.user, None),
    "password set": lambda story: story.doing(SetPassword, story.user, "another long pass phrase"),
    "signed out everywhere": lambda story: story.doing(EndAllSessions, story.user),
    "client disabled": lambda story: story.doing(
        UpdateClient, story.client, None, ClientMetadata(("enabled",), enabled=False)
    ),
    "client deleted": lambda story: story.doing(DeleteClient, story.client, None),
}


@pytest.mark.parametrize("end", ENDS)
async def test_whatever_ends_amid_codes_and_refreshes_leaves_nothing_alive(story, pair, end):
    first = [await story.redeeming(await story.code())(pair.one) for _ in range(3)]
    issued = [await story.code() for _ in range(5)]
    works = [*map(story.redeeming, issued), *(story.refreshing(made.refresh_token) for made in first)]
    works.insert(4, ENDS[end](story))
    results = await pair.race(*works)
    assert set(codes(results)) <= {"done", "invalid_grant", "invalid_client"}, codes(results)
    assert await story.alive() == 0
    held = {made.refresh_token for made in (*first, *tokens_of(results))}
    for server in pair.servers:
        await server.catch_up()
    assert codes(await pair.race(*map(story.refreshing, held)))["done"] == 0


async def test_a_consent_taken_back_amid_codes_ends_all_that_hung_on_it(story, pair):
    issued = [await story.code() for _ in range(6)]

    async def withdraw(server):
        await (await server.get(WithdrawConsent))(await server.actor(story.user), story.client)

    works = [*map(story.redeeming, issued)]
    works.insert(3, withdraw)
    assert set(codes(await pair.race(*works))) <= {"done", "invalid_grant"}
    assert await story.alive() == 0


async def test_consents_given_in_two_tabs_are_both_kept(story, pair):
    steps = [await story.asked(pair.one, scope) for scope in ("openid email", "openid offline_access")]

    def allowing(step):
        async def allow(server):
            return await story.allow(server, step)

        return allow

    assert codes(await pair.race(*map(allowing, steps))) == {"done": 2}
    scopes = await pair.ask("SELECT scopes FROM hexward.consents WHERE client_id = $1", story.client)
    assert set(scopes) >= {"email", "offline_access"}


async def test_of_secrets_made_at_once_the_last_two_are_good(story, pair):
    async def rotate(server):
        return await (await server.get(RotateClientSecret))(await server.operator(), story.client)

    results = await pair.race(*([rotate] * 6))
    assert codes(results) == {"done": 6}
    assert await pair.ask("SELECT jsonb_array_length(secrets) FROM hexward.clients WHERE id = $1", story.client) == 2
    assert await story.count("client.secret_rotated") == 6
