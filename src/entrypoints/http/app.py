"""The application: routes, errors, and the life of what runs beside the requests."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

from dishka import AsyncContainer
from dishka.integrations.litestar import DishkaRouter, setup_dishka
from litestar import Litestar, Router
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from application.authority import LiveAuthority
from application.idempotency import AnsweredBefore
from application.maintenance import LOOK, Maintain, Round, in_words
from domain.errors import Unavailable
from domain.ports import Limiter
from domain.upkeep import PAUSE
from entrypoints.http.accounts import OwnAccountController, RegistrationController
from entrypoints.http.audit import AuditController
from entrypoints.http.body import StrictRequest
from entrypoints.http.clients import ClientsController
from entrypoints.http.docs import docs_page, openapi_document, welcome
from entrypoints.http.envelope import Envelope
from entrypoints.http.health import health, live, ready
from entrypoints.http.hot import Lane
from entrypoints.http.idempotency import IdempotencyKeys, answered_before
from entrypoints.http.keys import KeysController, jwks
from entrypoints.http.limits import Limits
from entrypoints.http.oauth import errors as oauth_errors
from entrypoints.http.oauth.authorize import authorize
from entrypoints.http.oauth.discovery import discovery
from entrypoints.http.oauth.token import introspect, revoke, token
from entrypoints.http.oauth.userinfo import userinfo
from entrypoints.http.open_sessions import OwnSessionsController, UserSessionsController
from entrypoints.http.options import answer_options
from entrypoints.http.pages import errors as page_errors
from entrypoints.http.pages.account import AccountController
from entrypoints.http.pages.assets import assets
from entrypoints.http.pages.consent import ConsentController
from entrypoints.http.pages.login import LoginController
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.pages.sign_out import confirm_sign_out, end_session, logged_out
from entrypoints.http.pages.visits import FormBodies, at_home
from entrypoints.http.parameters import refuse_unknown
from entrypoints.http.problems import HANDLERS
from entrypoints.http.roles import GrantsController, PermissionsController, RolesController, UserRolesController
from entrypoints.http.sessions import SessionsController
from entrypoints.http.settled import Settled
from entrypoints.http.users import MeController, UsersController
from entrypoints.settings import Settings

BODY_MAX = 1_048_576
log = logging.getLogger(__name__)
API = DishkaRouter(
    "/api/v1",
    route_handlers=[
        SessionsController,
        RegistrationController,
        MeController,
        OwnAccountController,
        OwnSessionsController,
        UsersController,
        UserSessionsController,
        UserRolesController,
        RolesController,
        PermissionsController,
        GrantsController,
        ClientsController,
        KeysController,
        AuditController,
    ],
    middleware=[Settled(), IdempotencyKeys()],
    before_request=refuse_unknown,
)
PAGES = Router("/", route_handlers=[welcome, docs_page, openapi_document])
BESIDE = DishkaRouter("/", route_handlers=[live, ready, health, jwks, discovery])
OAUTH = DishkaRouter("/", route_handlers=[token, introspect, userinfo], exception_handlers=oauth_errors.HANDLERS)
REVOCATION = DishkaRouter(
    "/", route_handlers=[revoke], middleware=[Settled()], exception_handlers=oauth_errors.HANDLERS
)
FOR_PEOPLE = DishkaRouter(
    "/",
    route_handlers=[
        authorize,
        end_session,
        confirm_sign_out,
        logged_out,
        LoginController,
        ConsentController,
        AccountController,
    ],
    middleware=[FormBodies(), Settled()],
    before_request=at_home,
    exception_handlers=page_errors.HANDLERS,
)
"""Made once, for the container's router changes the controllers it is given; every application has its own copy."""


def nobody(*_: object) -> None:
    """The framework's own pages about the API load scripts from elsewhere; ours stand at /docs and /openapi.json."""
    raise NotFoundException


async def _maintain(maintain: Callable[[], Awaitable[Round | None]], look: float) -> None:
    """Look again and again whether a round is due, and sooner where one left something behind. What goes wrong is told
    once, and tried again."""
    failing = False
    pause = look
    while True:
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # no secret: workers shall not wake as one
        try:
            done = await maintain()
        except Exception:
            if not failing:
                log.exception("maintenance did not finish; it is tried again every %.0f s", look)
            failing, pause = True, look
            continue
        pause = min(look, PAUSE.total_seconds()) if done is not None and done.backlog else look
        if done is None:
            continue
        if failing:
            log.info("maintenance finishes again")
        failing = False
        if done.useful or (done.backlog and not done.yielded):
            left = "more" if done.backlog else "nothing"
            log.info("upkeep removed %s in %.1f s; %s is left", in_words(done.removed), done.seconds, left)


def create_app(container: AsyncContainer, settings: Settings) -> Litestar:
    """The ASGI application on a wired container, which it closes when it ends."""

    @contextlib.asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        container: AsyncContainer = app.state.dishka_container
        if settings.rate_limits:
            envelope.limits = Limits(await container.get(Limiter))
        await lane.open(app, container)
        authority = await container.get(LiveAuthority)
        with contextlib.suppress(Unavailable):  # a database that is away now is waited for, not a reason to die
            await authority.catch_up()
        beside = [
            asyncio.create_task(authority.follow(), name="change-feed"),
            asyncio.create_task(_maintain(await container.get(Maintain), LOOK), name="maintenance"),
        ]
        try:
            yield
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await container.close()

    app = Litestar(
        [PAGES, API, BESIDE, OAUTH, REVOCATION, FOR_PEOPLE, *assets],
        before_request=answer_options,
        exception_handlers={**HANDLERS, AnsweredBefore: answered_before},
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
    app.state.pages, app.state.public_url = Pages(settings), settings.public_url
    setup_dishka(container, app)
    lane = Lane(app.asgi_handler)
    app.asgi_handler = envelope = Envelope(lane, settings)
    return app
