"""A fuzzer reads the OpenAPI document and tries everything against the real application: schemathesis.

Bounded and always the same in an ordinary run; `make soak` goes on for minutes, with other inputs each time.
"""

import os
from collections import Counter
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest
import schemathesis
from schemathesis.checks import CHECKS
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.python.asgi import get_client, shutdown_lifespans
from schemathesis.specs.openapi.checks import positive_data_acceptance

from builders import SettableClock
from http_walk import OTHER_SHAPES
from http_world import ADMIN, PASSWORD, a_world

pytestmark = pytest.mark.long

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EXAMPLES = 400 if LONG else 4
"""Of each operation, beside some thousand that cover every constraint of the document."""

EXPECTED = {
    "positive_data_acceptance": {
        "412": "If-Match is well formed and names another version",
    },
    "negative_data_rejection": {
        "412": "an If-Match that is no ETag of ours never matches (RFC 9110, 13.1.1)",
        "413": "a body can be too large before it can be wrong",
        "303": "a browser is sent on to where it is told what is wrong (RFC 6749, 4.1.2.1)",
    },
    "missing_required_header": {
        "404": "whether something is there is asked before its version",
        "428": "If-Match is missing (RFC 6585, 3)",
    },
}
"""Statuses that are right besides those that schemathesis expects by itself."""

LEFT_OUT = {
    "max_response_time": "times are measured by the benchmarks, never asserted",
    "positive_data_acceptance": "made by accepted_or_refused_by_a_rule, which adds BEYOND_A_SCHEMA to it",
    "object_level_authorization": "wants two callers; what each of many callers may see has tests of its own",
}
"""Checks that are not made. All others are, also those that a newer schemathesis brings."""

HOME = "http://testserver"
"""Where the fuzzer goes."""

BEYOND_A_SCHEMA = {
    "email_malformed": "printable in any script, a host that is one",
    "username_malformed": "printable in any script, also when folded",
    "display_name_malformed": "printable in any script, and visible",
    "description_malformed": "printable in any script",
    "malformed": "printable in any script (filters of the trail)",
    "password_common": "whether it is easy to guess",
    "password_malformed": "no lone surrogates",
    "scope_malformed": "no segment may be . or ..",
    "cursor_malformed": "it is opaque",
    "role_unknown": "whether the role is there",
    "times_malformed": "an end before its beginning, or long ago",
    "time_malformed": "years that UTC has not",
    "algorithm_unknown": "which algorithm goes with which use",
    "missing": "either an e-mail address or a username",
    "client_name_malformed": "printable in any script, and visible",
    "redirect_uri_malformed": "an address that answers may be sent to",
    "redirect_uris_missing": "redirect URIs go with authorization_code",
    "audience_malformed": "a URI in all its parts",
    "jwks_uri_malformed": "likewise",
    "client_keys_malformed": "what a key of its type has to have",
    "client_keys_private": "never the secret half of a key",
    "client_keys_missing": "keys go with private_key_jwt",
    "client_keys_unused": "likewise",
    "grant_types_contradictory": "which grant types go together",
    "grant_types_public": "what is for those who prove themselves",
    "introspection_public": "likewise",
    "pkce_required": "likewise",
    "auth_method_fixed": "whether it differs from what was registered",
}
"""Codes of fields whose rule a JSON Schema cannot say; a well-formed request may be refused with these."""


OF_AN_RFC = {
    "use one method of client authentication": "which parameters go together",
    "the client assertion is not of the type jwt-bearer": "likewise",
    "client_id names another client": "likewise, with the header",
    "the parameter code is missing": "which grant type needs which parameters",
    "the parameter refresh_token is missing": "likewise",
    "the parameters are malformed, or too many": "how many there may be altogether",
    "there are too many parameters, or one is too long": "likewise",
}
"""Refusals with invalid_request (RFC 6749, 5.2) whose rule a JSON Schema cannot say."""
NOT_TO_BE_HAD = {
    "invalid_grant": "a code or a token that nobody made up",
    "invalid_scope": "scopes that the application has",
    "invalid_target": "services that it may ask for",
    "unsupported_token_type": "what cannot be given back",
}
"""Errors of RFC 6749, 7009 and 8707 that are no fault of the form."""


class World:
    """The real application on the memory store; it begins when the fuzzer starts its lifespan."""

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(a_world(SettableClock(), PUBLIC_URL=HOME, REGISTRATION="open"))
            self._app = api.client._transport.app
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class Administrator:
    """Signs in, and again whenever the fuzzer has ended its session."""

    def get(self, case, context):
        with get_client(context.app) as client:
            answer = client.post("/api/v1/auth/login", json={"email": ADMIN, "password": PASSWORD})
        return answer.json()["access_token"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"


BY_CLIENTS = r"^/oauth2/(token|introspect|revoke)$"


class Service(Administrator):
    """An application that may do everything an application can."""

    def get(self, case, context):
        metadata = {
            "client_name": "Fuzz", "redirect_uris": ["https://app.example.org/callback"], "introspection": True,
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        }  # fmt: skip
        token = super().get(case, context)
        with get_client(context.app) as client:
            answer = client.post("/api/v1/clients", json=metadata, headers={"Authorization": f"Bearer {token}"})
        return httpx.BasicAuth(answer.json()["client_id"], answer.json()["client_secret"])._auth_header

    def set(self, case, data, context):
        case.headers["Authorization"] = data


@pytest.fixture
def engine():
    world = World()
    checks = {name: {"expected-statuses": [*default_statuses(name), *more]} for name, more in EXPECTED.items()}
    for name in LEFT_OUT.keys() - {"max_response_time"}:  # which is not made without a limit
        checks.setdefault(name, {})["enabled"] = False
    config = schemathesis.Config.from_dict(
        {"seed": None if LONG else 1, "checks": checks} if not LONG else {"checks": checks}
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", world, config=config)
    schema.auth().skip_for(path_regex=BY_CLIENTS)(Administrator)
    schema.auth().apply_to(path_regex=BY_CLIENTS)(Service)
    schema.config.generation.update(max_examples=EXAMPLES)
    yield from_schema(schema)
    shutdown_lifespans()


def default_statuses(name):
    return schemathesis.Config().projects.default.checks.get_by_name(name=name).expected_statuses


def refused_by_an_rfc(answer):
    if answer.headers["content-type"] == ["text/html; charset=utf-8"]:  # who asks, and where to, has to be registered
        return True
    refusal = msgspec.json.decode(answer.content)
    return refusal["error"] in NOT_TO_BE_HAD or refusal["error_description"] in OF_AN_RFC


@schemathesis.check
def accepted_or_refused_by_a_rule(context, answer, case):
    """What is well formed is accepted, or breaks a rule that no schema can say."""
    try:
        positive_data_acceptance(context, answer, case)
    except RejectedPositiveData:
        if answer.status_code == 400 and case.operation.path in OTHER_SHAPES:
            if not refused_by_an_rfc(answer):
                raise
            return
        problem = msgspec.json.decode(answer.content) if answer.status_code == 422 else {}
        if problem.get("code") == "idempotency_key_reused":  # the fuzzer has few keys, and many requests
            return
        fields = problem.get("errors", [])
        if not fields or not {f["code"] for f in fields} <= BEYOND_A_SCHEMA.keys():
            raise


def failures(event):
    """What the checks found in one scenario, as texts with the request to try again."""
    for id, checks in event.recorder.checks.items():
        interaction = event.recorder.interactions.get(id)
        answer = interaction.response if interaction is not None else None
        for check in checks:
            if check.failure_info is not None:
                told = answer.content[:300] if answer is not None else b""
                yield f"{check.name}: {check.failure_info.failure.message}"
                yield f"  {check.failure_info.code_sample}\n  {told!r}\n"


def test_the_application_keeps_what_its_description_says(engine):
    found, made, answers = [], Counter(), Counter()
    for event in engine.execute():
        if isinstance(event, events.FatalError | events.NonFatalError):
            pytest.fail(f"the fuzzer itself failed: {event}")
        if isinstance(event, events.ScenarioFinished):
            made.update(check.name for checks in event.recorder.checks.values() for check in checks)
            for id, interaction in event.recorder.interactions.items():
                if interaction.response is not None and id in event.recorder.cases:
                    answers[event.recorder.cases[id].value.operation.label, interaction.response.status_code] += 1
            found.extend(failures(event))
    assert not found, f"{len(found)} failures\n" + "\n".join(found[:20])
    assert made.keys() == set(CHECKS.get_all_names()) - LEFT_OUT.keys()
    done = {operation for operation, status in answers if status in (200, 201, 204)}
    assert len(done) > 20, f"too little of it succeeds to say much: {sorted(done)}"
    assert {f"POST /oauth2/{path}" for path in ("token", "introspect", "revoke")} <= done, sorted(done)
