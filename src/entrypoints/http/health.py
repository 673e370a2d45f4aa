"""Is it alive, can it work, and what exactly is the matter?"""

from collections.abc import Sequence
from importlib.metadata import version

import msgspec
from dishka import FromDishka
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec

from application.installation import Check, CheckReadiness
from domain.policies import Actor, require
from domain.roles import HEALTH_READ
from domain.scopes import EVERYWHERE
from entrypoints.http.problems import described


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


class Ready(msgspec.Struct, frozen=True):
    """Whether this server can do its work; `failing` names what it lacks."""

    status: str
    failing: Sequence[str]


class CheckReply(msgspec.Struct, frozen=True):
    """One thing a server needs."""

    name: str
    ok: bool
    milliseconds: float
    problem: str | None


class Health(msgspec.Struct, frozen=True):
    """Every check, with timings."""

    status: str
    version: str
    checks: Sequence[CheckReply]


def failing(shape: type[msgspec.Struct]) -> ResponseSpec:
    """The answer of a server that lacks something, which is told like that of one that lacks nothing."""
    return ResponseSpec(shape, generate_examples=False, description="Something is lacking")


@get("/health/live", summary="Liveness", tags=["Health"], security=[{}], sync_to_thread=False)
def live() -> Live:
    """Static: needs neither database nor token."""
    return Live("ok")


@get(
    "/health/ready", summary="Readiness", tags=["Health"], security=[{}], responses=described() | {503: failing(Ready)}
)
async def ready(check: FromDishka[CheckReadiness]) -> Response[Ready]:
    """503 until database, schema, keys and change feed are there, and whenever one of them is not."""
    lacking = [c.name for c in await check() if not c.ok]
    return Response(Ready("failing" if lacking else "ok", lacking), status_code=503 if lacking else 200)


@get("/health", summary="Detailed health", tags=["Health"], responses=described(401, 403) | {503: failing(Health)})
async def health(actor: FromDishka[Actor], check: FromDishka[CheckReadiness]) -> Response[Health]:
    """For operators: needs `health:read`."""
    require(actor.decide(HEALTH_READ, EVERYWHERE))
    checks: list[Check] = await check()
    lacking = any(not c.ok for c in checks)
    body = Health(
        "failing" if lacking else "ok",
        version("hexward"),
        [CheckReply(c.name, c.ok, c.milliseconds, c.problem) for c in checks],
    )
    return Response(body, status_code=503 if lacking else 200)
