"""What a request asks for, parsed from its JSON.

An input says itself whether it is a text or an image:

| input | is |
| --- | --- |
| a string that begins with `data:image/` | an image |
| any other string, a URL too | a text |
| `{"type": "text", "text": ...}` | a text, whatever it begins with |
| `{"type": "image_url", "image_url": {"url": ...}}` | an image, behind a `data:` URI or an http(s) URL |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from clip_image_encoder.integrations.server.refusal import RefusedError

__all__ = ["Asked", "ImagePart", "Part", "TextPart", "parse"]

_STRICT = ConfigDict(extra="forbid", strict=True)

_VALUES = 16
"""Number of values that are parsed for each input that is allowed: an image with all its fields has 12."""

_LONGEST = 100
"""Number of characters of a place in the request that is told; a field may have any name."""

_MESSAGES = {
    "unexpected_keyword_argument": "is no field that this server knows",
    "union_tag_not_found": 'needs a type, "text" or "image_url"',
    "union_tag_invalid": 'its type must be "text" or "image_url"',
}
"""Messages in place of pydantic's, by its names of errors."""


def _is_address(url: str) -> str:
    # The loader would read anything else as the path of a file on this machine.
    if not url[:8].lower().startswith(("data:", "http://", "https://")):
        raise ValueError("must begin with data:, http:// or https://")
    return url


def _part(given: object) -> object:
    """Return an input in the shape of an object."""
    if not isinstance(given, str):
        if not isinstance(given, dict):
            raise ValueError("must be a string or an object; tokens are not taken")
        return given
    if given[:11].lower() == "data:image/":
        return {"type": "image_url", "image_url": {"url": given}}
    return {"type": "text", "text": given}


def _several(given: object, info: ValidationInfo) -> object:
    """Return one input or several as a list, which is not too long."""
    inputs = given if isinstance(given, list) else [given]
    most = cast("int", info.context)
    if not 1 <= len(inputs) <= most:
        raise ValueError(f"must hold 1 to {most} inputs, not {len(inputs)}")
    return inputs


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """A text."""

    __pydantic_config__ = _STRICT

    type: Literal["text"]
    text: str


@dataclass(frozen=True, kw_only=True)
class ImageUrl:
    """Address of an image; `detail` is of OpenAI, and changes nothing."""

    __pydantic_config__ = _STRICT

    url: Annotated[str, AfterValidator(_is_address)]
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImagePart:
    """An image."""

    __pydantic_config__ = _STRICT

    type: Literal["image_url"]
    image_url: ImageUrl


Part: TypeAlias = TextPart | ImagePart


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, with the fields of OpenAI; `user` changes nothing."""

    __pydantic_config__ = _STRICT

    model: str
    input: Annotated[list[Annotated[Part, Discriminator("type"), BeforeValidator(_part)]], BeforeValidator(_several)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None


_ASKED = TypeAdapter(Asked)


def parse(body: bytes, *, max_inputs: int) -> Asked:
    """Return what the body of a request asks for.

    Args:
        body: JSON of the request.
        max_inputs: Largest number of inputs.

    Raises:
        RefusedError: The body is not JSON, or has another shape.
    """
    _check_values(body, most=_VALUES * max_inputs)
    try:
        asked: Asked = _ASKED.validate_json(body, context=max_inputs)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        param = _place(first["loc"])
        message = _MESSAGES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
        raise RefusedError(400, f"{param}: {message}" if param else message, param=param) from None
    return asked


def _check_values(body: bytes, *, most: int) -> None:
    """Check how many values JSON holds before it is parsed: 20 MB of `[],[],` would take gigabytes and seconds.

    Only functions that read bytes at once are used, so that the check itself takes milliseconds for any body.

    Raises:
        RefusedError: The body holds too many strings or other values.
    """
    # Without escaped characters, every quote begins or ends a string, and every second part is outside of strings.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') <= 2 * most:
        outside = plain.split(b'"')[::2]
        if sum(part.count(mark) for part in outside for mark in (b",", b"[", b"{")) <= most:
            return
    raise RefusedError(400, "the body holds more values than the largest number of inputs takes")


def _place(location: tuple[str | int, ...]) -> str | None:
    """Return a place in the request as OpenAI writes it, such as "input[3].image_url.url"."""
    # pydantic writes the type of an input behind its index: ("input", 3, "image_url", "image_url", "url").
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in (*location[:2], *location[3:])]
    return "".join(parts).removeprefix(".")[:_LONGEST] or None
