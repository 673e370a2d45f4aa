"""Puts the pages together. Whatever is passed in is text: it cannot become markup, nor a part of a header."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup

from domain.clients import API_SCOPE, IDENTITY_SCOPES
from domain.credentials import PASSWORD_MAX, PASSWORD_MIN
from entrypoints.http.pages.brand import Brand
from entrypoints.http.pages.devices import browser_and_system, shortened
from entrypoints.http.pages.texts import Words
from entrypoints.settings import Settings

LOGO_HEIGHT = 40
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action {targets}; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HOST_SOURCE = re.compile(r"https?://[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_FIELD_OF = {"password_wrong": "current_password", "username_taken": "username"}
"""Problems of the account page that one field is to blame for."""
_FORM_FIELDS = ("display_name", "username", "locale", "current_password", "new_password")

type LoginProblem = Literal["credentials", "too_many", "busy", "expired", "cookies"]
type ErrorKind = Literal["request", "expired", "not_found", "busy", "unexpected"]


@dataclass(frozen=True, slots=True)
class AccountView:
    """Who somebody is here, as they tell their accounts apart. `""` is a name that is not set."""

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile as its form shows it: what is stored, or what somebody has just typed. `""` is what is not set."""

    email: str
    display_name: str
    username: str
    locale: str


@dataclass(frozen=True, slots=True)
class SessionView:
    """Where somebody is signed in. `device` is the user agent; `application` the name of the one that holds it."""

    id: str
    device: str
    address: str
    last_used_at: datetime
    signed_in_at: datetime
    current: bool
    application: str | None = None


@dataclass(frozen=True, slots=True)
class ApplicationView:
    """What an application may do for somebody."""

    client_id: str
    name: str
    scopes: Sequence[str]
    granted_at: datetime


class Pages:
    """All pages, in the look that the settings give them. The caller sets the status, where it is not 200."""

    def __init__(self, settings: Settings) -> None:
        self.brand = Brand(settings)
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(brand=self.brand, logo=self._logo, named=_named, isolated=_isolated)

    def login(
        self,
        language: str,
        csrf: str,
        ticket: str,
        *,
        identifier: str = "",
        client_name: str | None = None,
        problem: LoginProblem | None = None,
        retry_after: int | None = None,
        continue_as: AccountView | None = None,
        form_targets: Sequence[str] = (),
    ) -> Response[bytes]:
        """Sign-in. `continue_as`: who may go on instead, by a form of its own that sends `continue`."""
        t = Words(language)
        text = None if problem is None else t(f"login.problem.{problem}", wait=t.wait(retry_after))
        return self._page(
            t,
            "login.html",
            form_targets,
            csrf=csrf,
            ticket=ticket,
            identifier=identifier,
            client_name=client_name,
            problem=text,
            wrong=problem == "credentials",
            continue_as=continue_as,
        )

    def consent(
        self,
        language: str,
        csrf: str,
        ticket: str,
        *,
        client_name: str,
        account: AccountView,
        scopes: Sequence[str],
        redirect_host: str,
        form_targets: Sequence[str] = (),
    ) -> Response[bytes]:
        """The question whether an application may do what it asks for."""
        return self._page(
            Words(language),
            "consent.html",
            form_targets,
            csrf=csrf,
            ticket=ticket,
            client_name=client_name,
            account=account,
            scopes=_gravest_first(scopes),
            redirect_host=redirect_host,
            switch="/login?" + urlencode({"ticket": ticket, "switch": "yes"}, errors="replace"),
        )

    def account(
        self,
        language: str,
        csrf: str,
        *,
        user: ProfileView,
        sessions: Sequence[SessionView],
        applications: Sequence[ApplicationView],
        notice: str | None = None,
        problem: str | None = None,
        field_errors: Mapping[str, str] | None = None,
    ) -> Response[bytes]:
        """One's own account. `notice` is what was done (`profile`, `password`, `session`, `application`); `problem`
        and the values of `field_errors` are codes of the core."""
        t = Words(language)
        wrong = {name: _field_problem(t, code) for name, code in (field_errors or {}).items() if name in _FORM_FIELDS}
        problems: list[tuple[str | None, Markup]] = [*wrong.items()]
        if problem is not None:
            text, field = t.of("account.problem", problem), _FIELD_OF.get(problem)
            problems.append((field, text))
            wrong |= {field: text} if field else {}
        elif field_errors and not wrong:
            problems.append((None, t("account.problem.other")))
        return self._page(
            t,
            "account.html",
            (),
            csrf=csrf,
            user=user,
            sessions=[_session(t, session) for session in sessions],
            applications=[replace(one, scopes=_gravest_first(one.scopes)) for one in applications],
            notice=None if notice is None else t(f"account.notice.{notice}"),
            problem=problems,
            wrong={name: wrong.get(name) for name in _FORM_FIELDS},
            focus=next(iter(wrong), None),
            least=PASSWORD_MIN,
        )

    def sign_out(
        self,
        language: str,
        csrf: str,
        *,
        request: str,
        client_name: str | None,
        form_targets: Sequence[str] = (),
    ) -> Response[bytes]:
        """The question whether to sign out; `request` comes back with the answer."""
        return self._page(
            Words(language), "sign_out.html", form_targets, csrf=csrf, request=request, client_name=client_name
        )

    def logged_out(
        self, language: str, *, client_name: str | None = None, return_to: str | None = None
    ) -> Response[bytes]:
        """Where somebody lands who has signed out."""
        safe = return_to if return_to is not None and _leads_out(return_to) else None
        return self._page(Words(language), "logged_out.html", (), client_name=client_name, return_to=safe)

    def error(
        self,
        language: str,
        status: int,
        *,
        kind: ErrorKind,
        detail: str,
        correlation_id: str,
        again: str | None = None,
    ) -> Response[bytes]:
        """What went wrong. The detail is for whoever mends a request; people are told in their own words. `again` is a
        path of ours where the page can be had afresh; without it, only the application can begin again."""
        t = Words(language)
        response = self._page(
            t,
            "error.html",
            (),
            heading=t(f"error.{kind}.title"),
            text=t(f"error.{kind}.text"),
            back=t("error.expired.back") if kind == "expired" and again is None else "",
            again=again,
            detail=detail if kind == "request" else "",
            correlation_id=correlation_id,
            leads_on=again is None and kind in ("expired", "not_found"),
        )
        response.status_code = status
        return response

    def _page(self, t: Words, template: str, form_targets: Sequence[str], **values: Any) -> Response[bytes]:
        values = {"problem": None, "said": lambda scope: _said(t, scope), **values}
        html = self._templates.get_template(template).render(t=t, **values)
        targets = " ".join(["'self'", *dict.fromkeys(map(_source, form_targets))])
        headers = {"Content-Security-Policy": _POLICY.format(targets=targets), "Content-Language": t.language}
        return Response(html.encode(errors="replace"), media_type="text/html", headers=headers)

    def _logo(self) -> Markup:
        """Its size is told, so that nothing moves when it arrives. The name stands beside it, so it says nothing."""
        width = round(LOGO_HEIGHT * self.brand.logo_ratio)
        tag = Markup('<img class="logo" src="{}" alt="" width="{}" height="{}">')
        return tag.format(self.brand.logo.url, width, LOGO_HEIGHT)


def _named(text: str) -> Markup:
    """A name that stands out; its script may run the other way without turning the sentence around."""
    return Markup("<strong><bdi>{}</bdi></strong>").format(text)


def _isolated(text: str) -> Markup:
    return Markup("<bdi>{}</bdi>").format(text)


def _said(t: Words, scope: str) -> Markup:
    """A scope in words, or by its name."""
    return t(f"scope.{scope}") if scope in (*IDENTITY_SCOPES, API_SCOPE) else t("scope.other", scope=_isolated(scope))


def _gravest_first(scopes: Sequence[str]) -> Sequence[str]:
    """What nobody should overlook, what everybody knows, and the application's own."""
    known = (API_SCOPE, *IDENTITY_SCOPES)
    return [*(scope for scope in known if scope in scopes), *(scope for scope in scopes if scope not in known)]


def _field_problem(t: Words, code: str) -> Markup:
    return t.of("field.problem", code, least=PASSWORD_MIN, most=PASSWORD_MAX)


def _session(t: Words, session: SessionView) -> dict[str, Any]:
    """A session in words."""
    known = browser_and_system(session.device)
    if known is not None:
        name: str = t("sessions.device", browser=known[0], system=known[1])
    else:
        name = shortened(session.device) if session.device else t("sessions.unknown")
    return {
        "id": session.id,
        "name": name,
        "address": session.address,
        "last_used_at": session.last_used_at,
        "signed_in_at": session.signed_in_at,
        "current": session.current,
        "application": session.application,
    }


def _source(target: str) -> str:
    """The target as a source of a policy. A host that policies cannot express, such as an IPv6 address, is widened to
    its scheme; ValueError for what is no target at all."""
    if _HOST_SOURCE.fullmatch(target):
        return target
    scheme = _SCHEME.match(target)
    if scheme is None:
        raise ValueError("not an origin, nor a scheme with its colon")
    return scheme[0]


def _leads_out(uri: str) -> bool:
    """Whether a link may lead there: to the web, or to an application by its own scheme (RFC 8252, 7.1)."""
    scheme = uri.partition(":")[0].lower()
    return _SCHEME.match(uri) is not None and (scheme in ("http", "https") or "." in scheme)
