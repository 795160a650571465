"""An input says itself what it is; nothing else is guessed."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from clip_image_encoder.integrations.server.asked import Asked, ImagePart, TextPart, parse
from clip_image_encoder.integrations.server.refusal import RefusedError
from tests.integrations.server.client import image_part

URI = "data:image/png;base64,AAAA"


def asked(inputs: Any, **fields: Any) -> Asked:
    return parse(json.dumps({"model": "m", "input": inputs, **fields}).encode(), max_inputs=3)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("a dog on a beach", TextPart),
        ("", TextPart),
        (URI, ImagePart),
        (URI.replace("data:image", "Data:Image"), ImagePart),
        ("data:text/plain,hello", TextPart),
        ("data: the new oil", TextPart),
        ("https://example.org/cat.jpg", TextPart),
        ("/etc/passwd", TextPart),
        ({"type": "text", "text": URI}, TextPart),
        (image_part(URI), ImagePart),
        (image_part("https://example.org/cat.jpg"), ImagePart),
        ({"type": "image_url", "image_url": {"url": URI, "detail": "auto"}}, ImagePart),
    ],
)
def test_an_input_says_what_it_is(given: Any, kind: type) -> None:
    assert [type(part) for part in asked(given).input] == [kind]
    assert [type(part) for part in asked(["a", given]).input] == [TextPart, kind]


@pytest.mark.parametrize(
    ("inputs", "param", "message"),
    [
        ([], "input", "must hold 1 to 3 inputs, not 0"),
        (["a"] * 4, "input", "must hold 1 to 3 inputs, not 4"),
        ([1, 2], "input[0]", "must be a string or an object; tokens are not taken"),
        (["a", [1, 2]], "input[1]", "tokens are not taken"),
        (None, "input[0]", "must be a string or an object"),
        (["a", {"text": "b"}], "input[1]", "needs a type"),
        (["a", {"type": "image", "image": URI}], "input[1]", 'its type must be "text" or "image_url"'),
        (["a", {"type": "text", "text": 3}], "input[1].text", "valid string"),
        (["a", image_part("/etc/passwd")], "input[1].image_url.url", "must begin with data:, http://"),
        (["a", image_part("file:///etc/passwd")], "input[1].image_url.url", "must begin with data:"),
        ({"type": "text", "text": "a", "title": "b"}, "input[0].title", "is no field"),
    ],
)
def test_what_is_no_input_is_refused_by_its_place(inputs: Any, param: str, message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        asked(inputs)
    assert refused.value.status == 400
    assert refused.value.error["param"] == param
    assert message in str(refused.value.error["message"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"),
        ({"stream": True}, "stream"),
        ({"model": None}, "model"),
    ],
)
def test_a_field_that_means_nothing_here_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        asked("a", **fields)
    assert refused.value.error["param"] == param
    assert str(refused.value.error["message"]).startswith(f"{param}: ")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"model": "m"}',
        b'{"model":"m","input":"\\ud800"}',
        b'{"model":"m","input":"a","' + b"x" * 1000 + b'":0}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(body, max_inputs=3)
    assert refused.value.status == 400
    assert len(str(refused.value.error["message"])) < 200


@pytest.mark.parametrize("values", [b"[],", b'"",', b"1,", b'{"a":0},', b'"' + b'\\"' * 9 + b'",'])
@pytest.mark.parametrize("field", [b"input", b"other"])
def test_a_body_of_very_many_values_is_refused_before_they_are_made(values: bytes, field: bytes) -> None:
    body = b'{"model":"m","%s":[%s0]}' % (field, values * 200_000)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match="more values than") as refused:
            parse(body, max_inputs=2048)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.status == 400
    assert peak < 3 * len(body) + 1_000_000


@pytest.mark.parametrize("text", [",[{" * 100_000, '\\"' * 100_000, "\\", '"', '\\",[,' * 1000])
def test_what_stands_in_a_text_is_no_value(text: str) -> None:
    assert asked([text, {"type": "text", "text": text}]).input == [TextPart(type="text", text=text)] * 2
