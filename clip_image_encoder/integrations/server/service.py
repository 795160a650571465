"""What the server does with the inputs of requests: two batchers, one for images and one for texts."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from clip_image_encoder import EncoderError, ImageEncoder, ImageError, ImageInput, TextEncoder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.cache import CachedEncoder
from clip_image_encoder.compact import truncate
from clip_image_encoder.integrations.server.asked import Asked, ImagePart, Part, TextPart
from clip_image_encoder.integrations.server.limits import Limits
from clip_image_encoder.integrations.server.refusal import RefusedError, refused_image
from clip_image_encoder.integrations.server.room import Room
from clip_image_encoder.serving import BatcherStats, MicroBatcher

__all__ = ["Service"]

_FETCHES = 32
"""Largest number of URLs that are fetched at a time, on threads of their own: a slow one holds up no other input."""


class Service:
    """Encodes the inputs of requests, those of several requests in one batch, until it is closed.

    A request has at most two batches of its inputs in the queue at a time, so that others wait for no more than
    these, however long its list is.

    Args:
        encoder: Encoder of images.
        text_encoder: Encoder of texts; None refuses texts.
        limits: How much is in the server at a time.
        max_batch_size: Largest number of inputs in a batch.
        max_wait_ms: Time that an idle model waits for more inputs, in milliseconds.

    Attributes:
        inputs: Room for inputs that wait.
        bodies: Room for the bodies of requests.
    """

    def __init__(
        self,
        encoder: ImageEncoder | CachedEncoder,
        text_encoder: TextEncoder | None,
        limits: Limits,
        *,
        max_batch_size: int,
        max_wait_ms: float,
    ) -> None:
        self._dimension, self._loader = encoder.dimension, encoder.loader
        self._at_a_time = min(2 * max_batch_size, limits.max_waiting)
        self.inputs = Room(limits.max_waiting, "inputs")
        self.bodies = Room(limits.max_bodies, "bytes")
        self._has_failed = False
        # Requests are admitted as a whole, so that none is refused in its middle: the batchers take what comes.
        self._images: MicroBatcher[ImageInput] = MicroBatcher(
            encoder, max_batch_size=max_batch_size, max_wait_ms=max_wait_ms, max_queue=None
        )
        self._texts: MicroBatcher[str] | None = None
        if text_encoder is not None:
            self._texts = MicroBatcher(
                text_encoder, max_batch_size=max_batch_size, max_wait_ms=max_wait_ms, max_queue=None
            )
        self._fetchers = ThreadPoolExecutor(_FETCHES, "fetch")

    def close(self) -> None:
        """Answer what waits, and end the threads."""
        self._images.close()
        if self._texts:
            self._texts.close()
        # A fetch that is left now has no client any more, and would hold up the end by its time-out.
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def stats(self) -> dict[str, BatcherStats]:
        """Return the counts of each batcher, by the kind of its inputs."""
        images = {"image": self._images.stats}
        return images if self._texts is None else {**images, "text": self._texts.stats}

    def retry_after(self) -> int:
        """Return after about how many seconds what waits now will have been encoded, 1 to 60."""
        stats = self.stats().values()
        calls, seconds = sum(each.calls for each in stats), sum(each.encoding_seconds for each in stats)
        return min(60, max(1, math.ceil(self.inputs.taken * seconds / max(1, calls))))

    async def check(self) -> None:
        """Check that the model can encode: if the last input has failed, an input of each kind is tried.

        Raises:
            EncoderError: The model or its device fails, or a batcher has ended.
        """
        if self._has_failed:
            await self._images.aencode(Image.new("RGB", (32, 32)))
            if self._texts:
                await self._texts.aencode("a test")
            self._has_failed = False

    async def embed(self, asked: Asked) -> list[str]:
        """Return the JSON of the embedding of each input.

        Raises:
            RefusedError: An input can't be encoded.
            QueueFullError: Too many inputs wait.
            EncoderError: The model or its device failed.
        """
        if asked.dimensions and asked.dimensions > self._dimension:
            raise RefusedError(400, f"dimensions: must be at most {self._dimension}", param="dimensions")
        turns = asyncio.Semaphore(self._at_a_time)

        async def one(part: Part, place: str) -> str:
            async with turns:
                vector = await self._encode(part, place)
            # Here and not for all vectors at the end, which would hold up the event loop.
            return _json(vector if asked.dimensions is None else truncate(vector, asked.dimensions), asked)

        with self.inputs.place() as take:
            take(min(len(asked.input), self._at_a_time))
            tasks = [asyncio.create_task(one(part, f"input[{index}]")) for index, part in enumerate(asked.input)]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()

    async def _encode(self, part: Part, place: str) -> Vectors:
        try:
            vector = await (self._text(part, place) if isinstance(part, TextPart) else self._image(part, place))
        except ImageError as error:
            raise refused_image(error, place) from error
        except EncoderError:
            self._has_failed = True
            raise
        self._has_failed = False
        return vector

    async def _text(self, part: TextPart, place: str) -> Vectors:
        if self._texts is None:
            raise RefusedError(400, f"{place}: this model encodes images and no texts", param=place)
        return await self._texts.aencode(part.text)

    async def _image(self, part: ImagePart, place: str) -> Vectors:
        url = part.image_url.url
        if url[:5].lower() == "data:":
            return await self._images.aencode(url)
        if self._loader.urls is None:
            message = f"{place}: this server fetches no URLs; send the image as a data: URI"
            raise RefusedError(400, message, param=place, code="invalid_image_url")
        return await asyncio.get_running_loop().run_in_executor(self._fetchers, self._images.encode, url)


def _json(vector: Vectors, asked: Asked) -> str:
    """Return a vector as JSON: a list of numbers, or a string of the bytes of its float32, little end first."""
    if asked.encoding_format == "base64":
        return f'"{base64.b64encode(vector.astype(np.dtype("<f4")).tobytes()).decode()}"'
    return json.dumps(vector.tolist())
