"""The API described: OpenAPI for machines, a page for people. No script, nothing from elsewhere."""

import html
import json
from collections.abc import Mapping
from typing import Any

from litestar import Request, Response, get
from litestar.response import Redirect

from entrypoints.http.oauth.forms import FORM
from entrypoints.http.openapi import describe, operations

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--page:#fff;--box:#f6f8fa;--accent:#6d28d9}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#30363d;--page:#0d1117;--box:#161b22;
--accent:#b794f6}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main,header{max-width:60rem;margin:0 auto;padding:1rem 1.25rem}header{border-bottom:1px solid var(--line)}
h1{margin:.2em 0;font-size:1.7rem}h2{margin:2.2rem 0 .6rem;font-size:1.2rem}a{color:var(--accent)}
p{margin:.4rem 0}.soft{color:var(--soft)}nav a{margin-right:1rem;white-space:nowrap}
details{border:1px solid var(--line);border-radius:8px;margin:.5rem 0;background:var(--box)}
summary{padding:.55rem .8rem;cursor:pointer;display:flex;gap:.7rem;flex-wrap:wrap;align-items:baseline}
summary:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.verb{font:600 .8rem ui-monospace,monospace;min-width:4rem;color:var(--accent)}
code,pre{font:.87rem/1.5 ui-monospace,monospace}.inside{padding:0 .9rem .9rem;overflow-x:auto}
pre{background:var(--page);border:1px solid var(--line);border-radius:6px;padding:.7rem;overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{text-align:left;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid var(--line);vertical-align:top}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@get("/", include_in_schema=False, sync_to_thread=False)
def welcome() -> Redirect:
    """Whoever comes with a browser wants to read."""
    return Redirect("/docs")


@get("/openapi.json", include_in_schema=False, sync_to_thread=False)
def openapi_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The OpenAPI 3.1 document."""
    return Response(document(request), media_type="application/json", headers={"Cache-Control": "public, max-age=300"})


@get("/docs", include_in_schema=False, sync_to_thread=False)
def docs_page(request: Request[Any, Any, Any]) -> Response[str]:
    """The same for people."""
    state = request.app.state
    if "docs_page" not in state:
        state.docs_page = page(json.loads(document(request)))
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "public, max-age=300"}
    return Response(state.docs_page, media_type="text/html", headers=headers)


def document(request: Request[Any, Any, Any]) -> bytes:
    """The document, rendered once."""
    state = request.app.state
    if "openapi_document" not in state:
        state.openapi_document = json.dumps(describe(request.app), indent=1).encode()
    rendered: bytes = state.openapi_document
    return rendered


def page(api: Mapping[str, Any]) -> str:
    """The whole page for an OpenAPI document."""
    all_of_them = list(operations(api))
    groups = list(dict.fromkeys(o.tag for o in all_of_them))
    contents = " ".join(f'<a href="#{_id(g)}">{_esc(g)}</a>' for g in groups)
    sections = "".join(
        f'<h2 id="{_id(g)}">{_esc(g)}</h2>'
        + "".join(_operation(api, o.path, o.verb, o.content) for o in all_of_them if o.tag == g)
        for g in groups
    )
    info = api["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_esc(info["title"])} API</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<header><h1>{_esc(info['title'])} API</h1><p>{_esc(info.get('description', ''))}</p>"
        f'<p class="soft">Version {_esc(info["version"])} · <a href="/openapi.json">OpenAPI document</a> · '
        "errors are <code>application/problem+json</code> with a stable <code>code</code>, but for those of OAuth</p>"
        f'<nav aria-label="Areas">{contents}</nav></header><main>{sections}</main></body></html>'
    )


def _operation(api: Mapping[str, Any], path: str, verb: str, operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    schema = next(iter(body.values()))["schema"] if body else None
    parts = [f"<p>{_esc(operation.get('description', ''))}</p>"]
    if parameters := [*operation.get("parameters", ()), *_fields(body)]:
        rows = "".join(
            f"<tr><td><code>{_esc(p['name'])}</code></td><td>{_esc(p['in'])}</td>"
            f"<td>{_esc(p.get('description', ''))}</td></tr>"
            for p in parameters
        )
        parts.append(f"<table><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr>{rows}</table>")
    parts.append(f"<pre>{_esc(_curl(path, verb, operation, _example(api, schema)))}</pre>")
    answers = "".join(
        f"<tr><td><code>{_esc(status)}</code></td><td>{_esc(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(operation.get("responses", {}).items())
    )
    parts.append(f"<table><tr><th>Answer</th><th>Meaning</th></tr>{answers}</table>")
    return (
        f'<details><summary><span class="verb">{verb.upper()}</span><code>{_esc(path)}</code>'
        f'<span class="soft">{_esc(operation.get("summary", ""))}</span></summary>'
        f'<div class="inside">{"".join(parts)}</div></details>'
    )


def _fields(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a form may hold, as parameters."""
    properties = body.get(FORM, {}).get("schema", {}).get("properties", {})
    return [{"name": name, "in": "form", **shape} for name, shape in properties.items()]


def _curl(path: str, verb: str, operation: Mapping[str, Any], example: object) -> str:
    lines = [f'curl -X {verb.upper()} "$HEXWARD{path}"']
    security = operation.get("security", ())
    if {"client": []} in security:
        lines.append('-u "$CLIENT_ID:$CLIENT_SECRET"')
    elif {} not in security:
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if any(p["name"] == "If-Match" for p in operation.get("parameters", ())):
        lines.append("""-H 'If-Match: "1"'""")
    form = operation.get("requestBody", {}).get("content", {}).get(FORM)
    if form is not None and isinstance(example, dict):
        lines += [f"-d '{name}={example[name]}'" for name in form["schema"]["required"]] or ["-d ''"]
    elif example is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(example)}'"]
    return " \\\n  ".join(lines)


def _example(api: Mapping[str, Any], schema: Any, depth: int = 0) -> Any:
    """A value of that shape, to be filled in by the reader."""
    if not schema or depth > 4:
        return None
    if "$ref" in schema:
        return _example(api, api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], depth + 1)
    for choice in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if choice.get("type") != "null":
            return _example(api, choice, depth + 1)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    kind = next((k for k in kind if k != "null"), None) if isinstance(kind, list) else kind
    if kind == "object":
        return {name: _example(api, inner, depth + 1) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(api, schema.get("items"), depth + 1)]
    simple = {"string": schema.get("format") or "...", "integer": 0, "boolean": False, "number": 0}
    return (schema.get("enum") or [simple.get(str(kind), "...")])[0]


def _id(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())


def _esc(text: object) -> str:
    return html.escape(str(text))
