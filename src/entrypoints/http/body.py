"""Request bodies: decoded strictly into their type, refused with pointers, never echoed."""

import re
from functools import cache
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, InternalServerException

from domain.errors import FieldError, Invalid
from entrypoints.http.problems import HttpProblem

MEDIA_TYPES = ("application/json", "application/merge-patch+json")
_PATH = re.compile(r" - at `(.*)`$")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]")
_MISSING = re.compile(r"missing required field `([A-Za-z0-9_]+)`")


class StrictRequest(Request[Any, Any, Any]):
    """Decodes JSON strictly into what the handler declares (Litestar's own conversion takes `"5"` for a number)."""

    @property
    def content_length(self) -> int | None:
        """What the header says; raises ClientException for what is no length. `headers` would read all the others."""
        told = [value for name, value in self.scope["headers"] if name == b"content-length"]
        if not told:
            return None
        if len(told) > 1 or not told[0].isdigit():
            raise ClientException("the Content-Length header is not one number")
        return int(told[0])

    async def body(self) -> bytes:
        """All of it; raises HttpProblem (400) where the caller hung up before its end, which is no fault of ours."""
        try:
            return await super().body()
        except InternalServerException:
            raise HttpProblem(400, "body_incomplete", "the body ended before it was complete") from None

    async def json(self) -> Any:
        """The decoded body; raises Invalid (422) where it does not fit, HttpProblem (400, 415) where it is no JSON."""
        body = await self.body()
        if self.headers.get("content-type", MEDIA_TYPES[0]).partition(";")[0].strip().lower() not in MEDIA_TYPES:
            raise HttpProblem(415, "unsupported_media_type", "send the body as application/json")
        field = self.route_handler.parsed_data_field
        return decode(body, field.annotation if field is not None else Any)


def decode(body: bytes, into: Any) -> Any:
    """One JSON document as `into`."""
    try:
        return _decoder(into).decode(body)
    except msgspec.ValidationError as error:
        raise Invalid("the body does not fit", fields=[_where(str(error), into)], code="body_invalid") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HttpProblem(400, "json_malformed", "the body is not one JSON document in UTF-8") from None
    except RecursionError:
        raise HttpProblem(400, "json_too_deep", "the body is nested too deeply") from None
    except ClientException:
        raise


@cache
def _decoder(into: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(into)


def _where(message: str, into: Any) -> FieldError:
    """msgspec's sentence as a pointer and a text that holds nothing of the input."""
    at = _PATH.search(message)
    pointer = "".join(f"/{name or index}" for name, index in _STEP.findall(at.group(1))) if at else ""
    text = message[: at.start()] if at else message
    if missing := _MISSING.search(text):
        return FieldError(f"{pointer}/{missing.group(1)}", "missing", "this member is required")
    if "unknown field" in text:
        return FieldError(pointer, "unknown_member", _known(into if at is None else None))
    if text.startswith("Expected"):
        return FieldError(pointer, "type", text.replace("Expected", "expected").replace("`", ""))
    return FieldError(pointer, "malformed", "this value is not allowed here")


def _known(into: Any) -> str:
    """What could have been sent, for whoever misspelt a name: to repeat theirs would put any input into answers."""
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        return f"there is a member besides those known here: {', '.join(into.__struct_encode_fields__)}"
    return "there is a member that this operation does not know"
