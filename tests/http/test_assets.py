"""The style sheet and the logo: kept for ever under their tag, and harmless whatever an operator brings."""

from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from entrypoints.http.envelope import Envelope
from entrypoints.http.pages.assets import SVG_POLICY, assets
from entrypoints.http.pages.rendering import Pages
from entrypoints.settings import Settings, load

HERE = Path("/srv/hexward")
HOSTILE = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 30 10"><script>alert(1)</script></svg>'


def a_client(settings: Settings) -> tuple[httpx.AsyncClient, Pages]:
    app = Litestar([*assets], openapi_config=None)
    app.state.pages = pages = Pages(settings)
    app.asgi_handler = Envelope(app.asgi_handler, settings)
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost"), pages


@pytest.fixture
def served():
    return a_client(load({}, HERE))


async def test_under_its_tag_a_file_is_kept_for_ever(served):
    client, pages = served
    for asset, media_type in ((pages.brand.style, "text/css; charset=utf-8"), (pages.brand.logo, "image/svg+xml")):
        answer = await client.get(asset.url)
        assert answer.status_code == 200
        assert answer.content == asset.content
        assert answer.headers["content-type"] == media_type
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_under_the_tag_of_another_version_it_is_asked_for_again(served):
    client, pages = served
    for query in ("", "?v=older", f"?v={pages.brand.logo.tag}"):
        answer = await client.get(f"/assets/hexward.css{query}")
        assert answer.content == pages.brand.style.content
        assert answer.headers["cache-control"] == "no-cache"


async def test_what_a_browser_has_is_not_sent_again(served):
    client, pages = served
    etag = (await client.get(pages.brand.style.url)).headers["etag"]
    assert etag.startswith('"')
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = await client.get(pages.brand.style.path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert (await client.get(pages.brand.style.path, headers={"If-None-Match": '"x"'})).status_code == 200


async def test_an_operators_logo_is_served_as_it_is_and_never_runs(tmp_path):
    (tmp_path / "logo.png").write_bytes(HOSTILE)  # what it is, not what it is called
    client, pages = a_client(load({"HEXWARD_BRAND_LOGO": "logo.png"}, tmp_path))
    answer = await client.get(pages.brand.logo.url)
    assert answer.content == HOSTILE
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"] == SVG_POLICY
    assert "sandbox" in SVG_POLICY
    assert "script" not in SVG_POLICY.replace("'none'", "")
    assert b'width="120" height="40"' in pages.logged_out("en").content


def test_the_addresses_change_with_the_content():
    one, same, other = (Pages(load(env, HERE)).brand for env in ({}, {}, {"HEXWARD_BRAND_COLOR": "#0055aa"}))
    assert (one.style.url, one.logo.url) == (same.style.url, same.logo.url)
    assert one.style.url != other.style.url
    assert one.logo.url != other.logo.url  # our mark has the colour of the brand
