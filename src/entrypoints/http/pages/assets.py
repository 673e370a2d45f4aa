"""What pages load: the style sheet and the logo. Nothing else, and nothing from elsewhere."""

from typing import Any

from litestar import Request, Response, get

from entrypoints.http.pages.brand import Asset, Brand
from entrypoints.http.pages.rendering import Pages
from entrypoints.http.versions import unchanged

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""A logo that somebody opens by itself runs no script and loads nothing, whoever drew it."""


@get("/assets/hexward.css", include_in_schema=False, sync_to_thread=False)
def style_sheet(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The look of all pages."""
    return _answer(request, _brand(request).style)


@get("/assets/logo", include_in_schema=False, sync_to_thread=False)
def logo(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The operator's, or the mark of Hexward."""
    response = _answer(request, _brand(request).logo)
    response.headers["Content-Security-Policy"] = SVG_POLICY
    return response


def _brand(request: Request[Any, Any, Any]) -> Brand:
    pages: Pages = request.app.state.pages
    return pages.brand


def _answer(request: Request[Any, Any, Any], asset: Asset) -> Response[bytes]:
    """To be kept for ever only under its own tag: while a new version is rolled out, its address may reach the old."""
    etag = f'"{asset.tag}"'
    own = request.scope["query_string"] == f"v={asset.tag}".encode()
    headers = {"ETag": etag, "Cache-Control": _FOR_EVER if own else _ASK_FIRST}
    if unchanged(etag, request.headers.getall("if-none-match", [])):
        return Response(b"", status_code=304, media_type=asset.media_type, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


assets = (style_sheet, logo)
