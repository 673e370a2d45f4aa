"""Keys rotate as often as they may while tokens are made, and whoever caches the key set as its headers allow never
meets a key that it does not know."""

import asyncio
import re
from datetime import timedelta

import jwt
import pytest

from http_world import ADMIN, a_world
from relying_party import a_person, an_application

STEP, STEPS = timedelta(seconds=30), 90
VERIFIERS = 6
USES = ("sign", "id_token_rs256", "id_token_es256")


class Verifier:
    """Keeps the key set for exactly as long as it may, and never asks for it because of a token."""

    def __init__(self, api, waits):
        self.api, self.fetched_again_at = api, api.clock.now() + waits
        self.keys = {}

    async def refresh(self):
        if self.keys and self.api.clock.now() < self.fetched_again_at:
            return
        answer = await self.api.client.get("/oauth2/jwks")
        age = int(re.fullmatch(r"public, max-age=(\d+)", answer.headers["cache-control"])[1])
        self.keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(answer.json()).keys}
        if self.fetched_again_at <= self.api.clock.now():
            self.fetched_again_at = self.api.clock.now() + timedelta(seconds=age)

    def verify(self, token):
        """Raises KeyError for a key that it has not seen, and PyJWT's errors. What time it is the system knows not."""
        header = jwt.get_unverified_header(token)
        no_times = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        jwt.decode(token, self.keys[header["kid"]], algorithms=[header["alg"]], options=no_times)
        return header["kid"]


@pytest.mark.slow
@pytest.mark.long
async def test_rotation_under_load_is_felt_by_no_verifier_that_caches_as_it_may(clock):
    async with a_world(clock, RATE_LIMITS="off") as api:
        service = await an_application(
            api, redirect_uris=[], grant_types=["client_credentials"], scope="orders:read", access_token_lifetime=600
        )
        zoe = await a_person(api)
        families = []
        for algorithm in ("RS256", "ES256"):
            app = await an_application(api, id_token_signed_response_alg=algorithm)
            families.append([app, (await app.tokens(zoe, scope="openid offline_access"))["refresh_token"]])
        verifiers = [Verifier(api, i * timedelta(minutes=5) / VERIFIERS) for i in range(VERIFIERS)]
        in_use: dict[str, timedelta] = {}
        signed_by = set()

        async def rotate(use):
            answer = await api.call("POST", "/api/v1/keys/rotate", by=ADMIN, json={"use": use})
            assert answer.status_code in (201, 409), answer.text
            return answer.status_code == 201

        async def of_the_service():
            answer = await service.post("/oauth2/token", {"grant_type": "client_credentials"})
            return [answer.json()["access_token"]]

        async def of_a_person(family):
            app, token = family
            answer = (await app.refresh(token)).json()
            family[1] = answer["refresh_token"]
            return [answer["access_token"], answer["id_token"]]

        rotations = 0
        for step in range(STEPS):
            if step % 8 == 0:
                await api.login(ADMIN)
            done = await asyncio.gather(
                of_the_service(), *map(of_a_person, families), of_the_service(), *map(rotate, USES)
            )
            rotations += sum(done[-len(USES) :])
            in_use |= {token: clock.now() + timedelta(minutes=5) for made in done[: -len(USES)] for token in made}
            for token in [token for token, until in in_use.items() if until <= clock.now()]:
                del in_use[token]  # it has expired
            await asyncio.gather(*(verifier.refresh() for verifier in verifiers))
            newest = list(in_use)[-8:]
            for verifier in verifiers:
                signed_by |= {verifier.verify(token) for token in (*newest, *list(in_use)[:4])}
            clock.move(STEP)
        assert rotations >= len(USES) * 6, "keys changed all the time"
        assert len(signed_by) >= len(USES) * 6, "and each of them signed"
