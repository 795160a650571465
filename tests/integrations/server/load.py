"""Good and bad requests to a running server in a mix, each with the answer that it must get."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.tiny_shapes.draw import draw, random_scene
from tests.integrations.server.client import MODEL, data_uri, image_part, vector_of
from tests.integrations.server.wire import Answer, Connection

CALLERS = 48
TOO_LARGE = b" " * 1_200_000
"""A body beyond the server's --max-body 1000000."""

_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request and its answer.

    Attributes:
        kind: for the counts.
        body: what is sent.
        vectors: `(n, d)` that must come back; None means an error.
        status: of the answer.
        param: of the error.
        leaves: whether the client goes without waiting for the answer.
    """

    kind: str
    body: bytes
    vectors: Vectors | None = None
    status: int = 200
    param: str | None = None
    leaves: bool = False


@dataclass(kw_only=True)
class Outcomes:
    """What came of requests.

    Attributes:
        right: number of requests of each kind that got the answer that they must get.
        wrong: what was wrong with the others.
        busy: number of answers with 429, after which the client tried again.
        seconds: time of each answered request.
    """

    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    busy: int = 0
    seconds: list[float] = field(default_factory=list)


class Cases:
    """Endless requests, drawn by chance; each good one has inputs of its own mixture."""

    def __init__(self, images: ImageEncoder, texts: TextEncoder) -> None:
        generator = np.random.default_rng(3)
        drawings = [draw(random_scene(generator)) for _ in range(120)]
        words = [
            f"{number} {color} {shape}s"
            for number in range(1, 11)
            for color in ("red", "blue")
            for shape in ("star", "ring")
        ]
        self._uris = [data_uri(drawing) for drawing in drawings]
        self._words = words
        self._image_vectors, self._text_vectors = images.encode(drawings), texts.encode(words)
        self._random = random.Random(5)

    def __iter__(self) -> Iterator[Case]:
        kinds: Sequence[Callable[[], Case]] = (self._one, self._one, self._several, self._several, self._bad)
        while True:
            yield self._random.choice(kinds)()

    def _input(self) -> tuple[Any, Vectors]:
        if self._random.random() < 0.5:
            place = self._random.randrange(len(self._words))
            text = self._words[place]
            return self._random.choice((text, {"type": "text", "text": text})), self._text_vectors[place]
        place = self._random.randrange(len(self._uris))
        return self._random.choice((self._uris[place], image_part(self._uris[place]))), self._image_vectors[place]

    def _one(self) -> Case:
        given, vector = self._input()
        return Case(kind="one", body=self._body(given), vectors=vector[np.newaxis])

    def _several(self) -> Case:
        inputs, vectors = zip(*(self._input() for _ in range(self._random.randint(2, 12))), strict=True)
        encoding = self._random.choice(("float", "base64"))
        return Case(kind="several", body=self._body(inputs, encoding_format=encoding), vectors=np.stack(vectors))

    def _bad(self) -> Case:
        inputs = [self._input()[0] for _ in range(8)]
        index = self._random.randrange(8)
        place = f"input[{index}]"
        bad_inputs = {
            "no image": data_uri(b"no image"),
            "half an image": self._uris[0][: len(self._uris[0]) // 2],
            "no base64": "data:image/png;base64,!!!!",
            "a URL": image_part("https://example.org/cat.jpg"),
            "a number": 7,
        }
        cases = [
            Case(kind=kind, body=self._body([*inputs[:index], bad, *inputs[index + 1 :]]), status=400, param=place)
            for kind, bad in bad_inputs.items()
        ]
        cases += [
            Case(
                kind="a path", body=self._body([image_part("/etc/passwd")]), status=400, param="input[0].image_url.url"
            ),
            Case(kind="no JSON", body=self._body(inputs)[:-1], status=400),
            Case(kind="no inputs", body=self._body([]), status=400, param="input"),
            Case(kind="too many inputs", body=self._body(["a"] * 3000), status=400, param="input"),
            Case(kind="another model", body=self._body("a", model="gpt"), status=404, param="model"),
            Case(kind="too large", body=TOO_LARGE, status=413),
            Case(kind="leaves", body=self._body(inputs), leaves=True),
        ]
        return self._random.choice(cases)

    @staticmethod
    def _body(inputs: Any, **fields: Any) -> bytes:
        return json.dumps({"model": MODEL, "input": inputs, **fields}).encode()


async def send(address: str, cases: Sequence[Case], outcomes: Outcomes) -> None:
    """Send requests from many callers at a time, and compare each answer; one that is told to wait tries again."""
    waiting = iter(cases)

    async def call(stack: AsyncExitStack) -> None:
        connection = await stack.enter_async_context(Connection(address))
        for case in waiting:
            begun = time.perf_counter()
            try:
                problem = await _ask(connection, case, outcomes)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                problem = f"no answer, but {error!r}"
                connection = await stack.enter_async_context(Connection(address))
            outcomes.seconds.append(time.perf_counter() - begun)
            if problem:
                outcomes.wrong.append(f"{case.kind}: {problem}")
            else:
                outcomes.right[case.kind] += 1

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(call(stack) for _ in range(CALLERS)))


async def _ask(connection: Connection, case: Case, outcomes: Outcomes) -> str | None:
    """Send a request, again while the server is busy, and return what is wrong with the answer, or None."""
    if case.leaves:
        async with Connection(connection.address) as leaving:
            leaving.send(case.body)
        return None
    while (answer := await connection.ask(case.body)).status == 429:
        outcomes.busy += 1
        await asyncio.sleep(int(answer.headers["retry-after"]))
    return _problem(case, answer)


def _problem(case: Case, answer: Answer) -> str | None:
    """Return what is wrong with an answer, or None."""
    if answer.status != case.status:
        return f"status {answer.status}: {answer.content[:200]!r}"
    if case.vectors is None:
        param = answer.json()["error"]["param"]
        return None if param == case.param else f"it names {param} and not {case.param}"
    found = np.stack([vector_of(entry["embedding"]) for entry in answer.json()["data"]])
    if found.shape != case.vectors.shape or not np.allclose(found, case.vectors, atol=_TOLERANCE):
        return "other vectors"
    return None
