"""The pages as text: nothing passed in becomes markup, both languages say the same, every colour can be read."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import Environment, nodes

from domain.clients import API_SCOPE, IDENTITY_SCOPES
from entrypoints.http.pages import colors, rendering
from entrypoints.http.pages.colors import DARK, LIGHT, READABLE, SURFACES, contrast, shades
from entrypoints.http.pages.devices import browser_and_system, shortened
from entrypoints.http.pages.rendering import AccountView, ApplicationView, Pages, ProfileView, SessionView
from entrypoints.http.pages.texts import CATALOGS, Words, language
from entrypoints.settings import load

TEMPLATES = Path(rendering.__file__).parent / "templates"
PAGES = Pages(load({}, Path("/srv/hexward")))
ZOE = AccountView("Zoë", "zoe@example.org")
MOMENT = datetime(2026, 3, 7, 8, 5, tzinfo=UTC)
LANGUAGES = sorted(CATALOGS)


def views(text: str = "Zoë", words: str = "en", uri: str = "https://app.example.org/") -> dict[str, str]:
    """Every page, with `text` wherever a caller may pass one."""
    profile, account = ProfileView(text, text, text, text), AccountView(text, text)
    sessions = [
        SessionView("a", text, text, MOMENT, MOMENT, current=True),
        SessionView(text, text, text, MOMENT, MOMENT, current=False, application=text),
    ]
    applications = [ApplicationView(text, text, (text, "openid", API_SCOPE), MOMENT)]
    errors = dict.fromkeys(("display_name", "username", "locale", "new_password", text), text)
    pages = {
        "login": PAGES.login(words, text, text, identifier=text, client_name=text, continue_as=account),
        "login, wrong": PAGES.login(words, text, text, identifier=text, client_name=text, problem="credentials"),
        "consent": PAGES.consent(
            words, text, text, client_name=text, account=account, scopes=[text, "openid"], redirect_host=text
        ),
        "account": PAGES.account(words, text, user=profile, sessions=sessions, applications=applications),
        "account, wrong": PAGES.account(
            words, text, user=profile, sessions=[], applications=[], problem=text, field_errors=errors
        ),
        "sign-out": PAGES.sign_out(words, text, request=text, client_name=text),
        "logged-out": PAGES.logged_out(words, client_name=text, return_to=uri),
        "error": PAGES.error(words, 400, kind="request", detail=text, correlation_id=text),
    }
    return {name: page.content.decode() for name, page in pages.items()}


class Outline(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


def shape(html: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(tag, tuple(attributes)) for tag, attributes in Outline(html).tags]


# Nothing becomes markup

HARMLESS = {name: shape(html) for name, html in views("zoe").items()}


@given(text=st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), min_size=1, max_size=80))
@example(text="<script>alert(1)</script>")
@example(text='"><img src=x onerror=alert(1)>')
@example(text="' autofocus onfocus='alert(1)")
@example(text="{{ 7 * 7 }}{% raw %}{0}{t.__class__}")
@example(text="</title></style><!--")
@example(text="&lt;b&gt;&#60;")
def test_whatever_is_passed_in_stays_text(text):
    for name, html in views(text).items():
        assert shape(html) == HARMLESS[name], name
        assert name == "account, wrong" or text in Outline(html).text, name


def test_what_is_no_unicode_text_is_shown_all_the_same():
    assert "?" in Outline(views("\ud800")["login"]).text


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "//evil", "x", ""])
def test_no_link_runs_a_script(uri):
    assert all(a["href"] == "/login" for a in Outline(views(uri=uri)["logged-out"]).of("a"))


@pytest.mark.parametrize("uri", ["https://app.example.org/?a=b&c", "com.example.app:/done"])
def test_a_link_leads_back_to_the_application(uri):
    assert uri in [a["href"] for a in Outline(views(uri=uri)["logged-out"]).of("a")]


def test_a_ticket_cannot_add_to_an_address():
    assert 'href="/login?ticket=a%26b%3D%2F&amp;switch=yes"' in views("a&b=/")["consent"]


def test_no_page_has_a_script_or_a_style_of_its_own():
    for html in views().values():
        outline = Outline(html)
        assert not outline.of("script", "style", "iframe", "object", "base")
        assert not [key for _, attributes in outline.tags for key in attributes if key == "style" or key[:2] == "on"]


# Headers


def policy(*targets: str) -> str:
    page = PAGES.login("en", "csrf", "ticket", form_targets=targets)
    return page.headers["Content-Security-Policy"]


def test_pages_load_their_own_files_only_and_are_framed_by_nobody():
    assert policy() == (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    page = PAGES.error("de", 404, kind="not_found", detail="", correlation_id="")
    assert page.headers["Content-Security-Policy"] == policy()
    assert (page.status_code, page.media_type) == (404, "text/html")  # to which Litestar adds the charset
    assert page.headers["Content-Language"] == "de"


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ("https://app.example.org", "https://app.example.org"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("com.example.app:", "com.example.app:"),
        ("https:", "https:"),
        ("http://[::1]:8080", "http:"),  # a policy cannot name it
        ("https://a; script-src *", "https:"),
        ("https://a\r\nSet-Cookie: x", "https:"),
        ("https://*.example.org", "https:"),
    ],
)
def test_forms_may_lead_on_to_the_application(target, source):
    assert f"form-action 'self' {source};" in policy(target, target)


@pytest.mark.parametrize("target", ["", "*", "'unsafe-inline'", "; script-src *", "a b:"])
def test_what_is_no_target_is_a_defect(target):
    with pytest.raises(ValueError, match="not an origin"):
        policy(target)


# Forms


@pytest.mark.parametrize("words", LANGUAGES)
def test_every_field_has_a_label_and_every_note_exists(words):
    for name, html in views(words=words).items():
        outline = Outline(html)
        ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        labels = {label["for"] for label in outline.of("label")}
        for field in outline.of("input"):
            assert field.get("type") == "hidden" or "hidden" in field or field["id"] in labels
        told = [a[key] for _, a in outline.tags for key in ("aria-describedby", "aria-labelledby") if key in a]
        assert {id for note in told for id in note.split()} <= set(ids), name


def test_every_form_is_posted_with_its_token():
    for html in views("token").values():
        for form in re.findall(r"<form.*?</form>", html, re.DOTALL):
            assert form.startswith('<form method="post" action="/')
            assert '<input type="hidden" name="form_token" value="token">' in form


def test_what_password_managers_look_for_is_told():
    told = {f["name"]: f["autocomplete"] for f in Outline(views()["login"]).of("input") if f.get("type") != "hidden"}
    assert told == {"identifier": "username", "password": "current-password"}
    account = Outline(views()["account"]).of("input")
    assert {"current-password", "new-password"} <= {f.get("autocomplete") for f in account}


def test_no_password_is_ever_sent_back():
    for html in views().values():
        assert all("value" not in f for f in Outline(html).of("input") if f.get("type") == "password")


def focused(page) -> list[str]:
    return [f["name"] for f in Outline(page.content.decode()).of("input") if "autofocus" in f]


def test_the_keyboard_is_where_one_types_next():
    assert focused(PAGES.login("en", "c", "t")) == ["identifier"]
    assert focused(PAGES.login("en", "c", "t", identifier="zoe")) == ["password"]
    assert focused(PAGES.login("en", "c", "t", continue_as=ZOE)) == []


def the_account(**more):
    profile = ProfileView("zoe@example.org", "Zoë", "zoe", "de")
    return PAGES.account("en", "c", user=profile, sessions=[], applications=[], **more)


@pytest.mark.parametrize(
    ("told", "field", "text"),
    [
        ({"problem": "password_wrong"}, "current_password", "The current password is not right."),
        ({"problem": "username_taken"}, "username", "Somebody else has this username."),
        ({"field_errors": {"new_password": "password_too_short"}}, "new_password", "at least 15 characters"),
        ({"field_errors": {"locale": "something_new"}}, "locale", "This value cannot be used."),
    ],
)
def test_a_problem_is_told_at_its_field_and_announced(told, field, text):
    page = the_account(**told)
    html = page.content.decode()
    assert focused(page) == [field]
    assert text in Outline(html).text
    assert f'<a href="#{field}">' in html[html.index('role="alert"') :]
    assert f'id="{field}-problem"' in html
    assert "<title>Problem: " in html


@pytest.mark.parametrize("told", [{"problem": "something_new"}, {"field_errors": {"elsewhere": "x"}}])
def test_a_problem_of_no_field_is_announced_as_well(told):
    html = the_account(**told).content.decode()
    assert "Nothing was changed." in html[html.index('role="alert"') :]


def test_a_wrong_password_is_announced_at_both_fields():
    page = PAGES.login("en", "c", "t", identifier="zoe", problem="credentials").content.decode()
    assert '<p class="alert" role="alert" id="problem">E-mail, username or password is not right.</p>' in page
    fields = [f for f in Outline(page).of("input") if f.get("aria-invalid") == "true"]
    assert [f["aria-describedby"] for f in fields] == ["problem", "problem"]


def test_going_on_is_a_form_of_its_own():
    """Or Enter in the password field would press its button."""
    page = PAGES.login("en", "c", "t", continue_as=ZOE).content.decode()
    one, other = re.findall(r"<form.*?</form>", page, re.DOTALL)
    assert 'name="continue"' in one
    assert 'name="continue"' not in other
    assert 'name="password"' in other


def test_this_device_is_marked_and_the_others_can_be_signed_out():
    sessions = [
        SessionView("here", "", "", MOMENT, MOMENT, current=True),
        SessionView("there", "curl/8 Linux", "", MOMENT, MOMENT, current=False, application="The Shop"),
    ]
    profile = ProfileView("zoe@example.org", "", "", "")
    html = PAGES.account("en", "c", user=profile, sessions=sessions, applications=[]).content.decode()
    assert html.count("This device") == 1
    assert re.findall(r'name="session" value="(\w+)"', html) == ["there"]
    assert "by <bdi>The Shop</bdi>" in html
    assert "curl on Linux" in html
    assert "Unknown device" in html
    assert '<time datetime="2026-03-07T08:05:00Z">7 March 2026, 08:05 UTC</time>' in html


def test_what_nobody_should_overlook_comes_first():
    asked = ["calendar:read", "email", "openid", API_SCOPE]
    page = PAGES.consent(
        "en", "c", "t", client_name="Notes", account=ZOE, scopes=asked, redirect_host="app.example.org"
    ).content.decode()
    rights = re.findall(r"<li( class=\"grave\")?>(.*?)</li>", page)
    assert rights == [
        (' class="grave"', "act with all your rights in this service"),
        ("", "know who you are"),
        ("", "see your e-mail address"),
        ("", "use “<bdi>calendar:read</bdi>”"),
    ]


# Languages


def test_both_catalogs_have_the_same_keys_and_fill_in_the_same():
    def holes(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    english = CATALOGS["en"]
    for catalog in CATALOGS.values():
        assert list(catalog) == list(english)
        assert all(catalog[key].strip() and holes(catalog[key]) == holes(english[key]) for key in english)
        assert len(catalog["months"].split()) == 12


def test_every_text_that_a_template_asks_for_exists():
    asked: set[str] = set()
    for template in TEMPLATES.glob("*.html"):
        tree = Environment(autoescape=True).parse(template.read_text(encoding="utf-8"))
        for call in tree.find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "t":
                keys = [key.value for key in call.args[0].find_all(nodes.Const) if isinstance(key.value, str)]
                asked |= set(keys or [call.args[0].value])
    assert len(asked) > 40
    assert asked <= CATALOGS["en"].keys()
    assert {f"scope.{scope}" for scope in (*IDENTITY_SCOPES, API_SCOPE)} <= CATALOGS["en"].keys()


@pytest.mark.parametrize("words", LANGUAGES)
def test_every_variant_can_be_rendered_in_every_language(words):
    for problem in ("credentials", "too_many", "busy", "expired", "cookies"):
        assert "role=" in PAGES.login(words, "c", "t", problem=problem, retry_after=90).content.decode()
    for kind in ("request", "expired", "not_found", "busy", "unexpected"):
        assert PAGES.error(words, 400, kind=kind, detail="d", correlation_id="i").content
    for notice in ("profile", "password", "session", "application"):
        assert 'role="status"' in the_account(notice=notice).content.decode()
    assert f'<html lang="{words}" dir="ltr">' in views(words=words)["login"]
    assert PAGES.sign_out(words, "c", request="", client_name=None).content
    assert PAGES.logged_out(words).content


@pytest.mark.parametrize(
    ("header", "locales", "spoken"),
    [
        ("", (), "en"),
        ("de", (), "de"),
        ("de-AT,de;q=0.9,en;q=0.8", (), "de"),
        ("en;q=0.8, DE ; q=0.9", (), "de"),
        ("fr, de;q=0.5, en;q=0.4", (), "de"),
        ("fr-FR, ja", (), "en"),
        ("de;q=0, en;q=0.1", (), "en"),
        ("de;q=0", (), "en"),
        ("*, de;q=0.5", (), "en"),
        ("de;q=2, en;q=0.1", (), "en"),
        ("de;q=x, en;q=0.1, ;;;,,", (), "en"),
        ("en", ("fr", "de-CH"), "de"),
        ("de", ("fr",), "de"),
        ("de," * 100_000, ("", "x-y-z"), "de"),
    ],
)
def test_the_language_is_what_the_application_or_the_browser_asks_for(header, locales, spoken):
    assert language(header, locales) == spoken


@given(header=st.text(), locales=st.lists(st.text()))
def test_some_language_is_always_spoken(header, locales):
    assert language(header, locales) in CATALOGS


def test_a_language_without_a_catalog_is_answered_in_english():
    assert Words("fr").language == "en"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "a moment"), (0, "a moment"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (61, "2 minutes"),
        (300, "5 minutes"),
    ],
)  # fmt: skip
def test_a_time_to_wait_is_rounded_up(seconds, said):
    assert Words("en").wait(seconds) == said


def test_a_date_is_told_in_utc_and_in_the_readers_language():
    assert ">7. März 2026, 08:05 UTC<" in Words("de").date(MOMENT)


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", ("Firefox", "Windows")),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1",
            ("Safari", "iPhone"),
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", ("Chrome", "Linux")),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", ("Edge", "Windows")),
        ("python-httpx/0.28", None),
        ("", None),
    ],
)
def test_devices_are_told_apart_as_people_would(agent, told):
    assert browser_and_system(agent) == told


def test_an_unknown_device_is_told_by_its_own_words_in_one_line():
    assert shortened("x" * 60) == "x" * 60
    assert shortened("x" * 61) == "x" * 59 + "…"


# Colours

A_COLOR = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


@given(brand=A_COLOR)
@example(brand="#6d28d9")
@example(brand="#ffff00")
@example(brand="#767676")
@example(brand="#000000")
@example(brand="#ffffff")
def test_whatever_the_colour_of_the_brand_all_text_can_be_read(brand):
    light, dark = shades(brand)
    assert light["accent"] == brand  # areas have the very colour
    for palette, own in ((LIGHT, light), (DARK, dark)):
        for fill in ("accent", "accent-near"):
            assert contrast(own["on-accent"], own[fill]) >= READABLE
        for surface in SURFACES:
            assert contrast(own["accent-ink"], palette[surface]) >= READABLE


def test_a_colour_that_can_be_read_is_left_alone():
    assert shades("#6d28d9")[0]["accent-ink"] == "#6d28d9"
    assert shades("#c4b5fd")[1]["accent-ink"] == "#c4b5fd"


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_our_own_colours_can_be_read(palette):
    pairs = [(ink, ground) for ink in ("ink", "soft", "danger") for ground in SURFACES]
    pairs += [("danger", "danger-page"), ("done", "done-page"), ("done", "card")]
    assert all(contrast(palette[ink], palette[ground]) >= READABLE for ink, ground in pairs)
    assert all(contrast(palette["edge"], palette[ground]) >= 3 for ground in SURFACES)  # WCAG 2.2, 1.4.11


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)


def test_the_style_sheet_uses_only_colours_there_are():
    sheet = PAGES.brand.style.content.decode()
    used = set(re.findall(r"var\(--([a-z-]+)\)", sheet))
    assert used <= LIGHT.keys() | shades("#6d28d9")[0].keys()
    assert LIGHT.keys() == DARK.keys()
    assert colors.WHITE in sheet
    assert "url(" not in sheet
    assert "@import" not in sheet
