"""The application: routes, errors, and the life of what runs beside the requests."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter, setup_dishka
from litestar import Litestar, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from application.authority import LiveAuthority
from application.maintenance import INTERVAL, Maintain
from domain.errors import Unavailable
from entrypoints.http.audit import AuditController
from entrypoints.http.body import StrictRequest
from entrypoints.http.docs import docs_page, openapi_document, welcome
from entrypoints.http.envelope import Envelope
from entrypoints.http.health import health, live, ready
from entrypoints.http.hot import Lane
from entrypoints.http.keys import KeysController, jwks
from entrypoints.http.parameters import refuse_unknown
from entrypoints.http.problems import HANDLERS
from entrypoints.http.roles import GrantsController, PermissionsController, RolesController, UserRolesController
from entrypoints.http.sessions import SessionsController
from entrypoints.http.settled import Settled
from entrypoints.http.users import MeController, UsersController
from entrypoints.settings import Settings

BODY_MAX = 1_048_576
log = logging.getLogger(__name__)
API = (
    SessionsController,
    MeController,
    UsersController,
    UserRolesController,
    RolesController,
    PermissionsController,
    GrantsController,
    KeysController,
    AuditController,
)


def nobody(*_: object) -> None:
    """The framework's own pages about the API load scripts from elsewhere; ours stand at /docs and /openapi.json."""
    raise NotFoundException


async def _maintain(maintain: Maintain) -> None:
    """Every hour; what goes wrong is told, and tried again."""
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            await maintain()
        except Exception:
            log.exception("maintenance did not finish; the next round tries again")


def create_app(container: AsyncContainer, settings: Settings) -> Litestar:
    """The ASGI application on a wired container, which it closes when it ends."""

    @contextlib.asynccontextmanager
    async def life(_: Litestar) -> AsyncIterator[None]:
        await lane.open(app, container)
        authority = await container.get(LiveAuthority)
        with contextlib.suppress(Unavailable):  # a database that is away now is waited for, not a reason to die
            await authority.catch_up()
        beside = [
            asyncio.create_task(authority.follow(), name="change-feed"),
            asyncio.create_task(_maintain(await container.get(Maintain)), name="maintenance"),
        ]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await container.close()

    app = Litestar(
        [
            Router("/", route_handlers=[welcome, docs_page, openapi_document]),
            DishkaRouter("/api/v1", route_handlers=list(API), middleware=[Settled()], before_request=refuse_unknown),
            DishkaRouter("/", route_handlers=[live, ready, health, jwks]),
        ],
        exception_handlers=HANDLERS,
        request_class=StrictRequest,
        request_max_body_size=BODY_MAX,
        lifespan=[life],
        openapi_config=OpenAPIConfig(
            title="Hexward",
            version=version("hexward"),
            description="Identity and access: users, roles, grants, tokens, keys, audit.",
            components=Components(
                security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
            ),
            security=[{"bearer": []}],
            use_handler_docstrings=True,
            openapi_router=Router("/openapi", route_handlers=[], include_in_schema=False, guards=[nobody]),
        ),
        logging_config=None,
        debug=False,
    )
    setup_dishka(container, app)
    secure = settings.public_url.startswith("https://")
    lane = Lane(app.asgi_handler)
    app.asgi_handler = Envelope(lane, settings.trusted_proxies, secure)
    return app
