"""The page's frames of a video: which ones, upright, and those of a video that is cut short."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend
from tests.integrations.pages import code_blocks

Frames = Callable[..., Iterator[tuple[float, Image.Image]]]

# The matrix in an MP4 that says how its frames are turned: not at all, and by a quarter to the right.
STRAIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
TO_THE_RIGHT = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)


@pytest.fixture
def frames() -> Frames:
    namespace: dict[str, Any] = {}
    code = next(block for block in code_blocks("how-to/videos-and-pages.md", "python") if "def frames(" in block)
    exec(code, namespace)  # noqa: S102 - the page's own code
    found: Frames = namespace["frames"]
    return found


def video(place: Path, shades: list[int], *, rate: int = 4) -> Path:
    """Write a video of two seconds for each shade of grey, whose left half is white unless the frame is black."""
    with av.open(str(place), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for shade in shades:
            pixels = np.full((32, 64, 3), shade, np.uint8)
            pixels[:, :32] = 255 if shade else 0
            for _ in range(2 * rate):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return place


def test_a_frame_a_second_begins_after_the_black_ones(frames: Frames, tmp_path: Path) -> None:
    place = str(video(tmp_path / "a.mp4", [0, 100, 0]))
    assert [seconds for seconds, _ in frames(place)] == [2.0, 3.0, 4.0, 5.0]
    assert [seconds for seconds, _ in frames(place, every=1.5)] == [2.0, 3.5, 5.0]


def test_a_video_that_is_all_black_has_no_frame(frames: Frames, tmp_path: Path) -> None:
    assert list(frames(str(video(tmp_path / "a.mp4", [0])))) == []


def test_frames_are_turned_as_the_video_says(frames: Frames, tmp_path: Path) -> None:
    place = video(tmp_path / "a.mp4", [100])
    before, _, after = place.read_bytes().rpartition(STRAIGHT)  # of the track; the one before is the movie's
    place.write_bytes(before + TO_THE_RIGHT + after)
    (_, image), *_ = frames(str(place))
    assert image.size == (32, 64)
    # What was white on the left is white at the top.
    assert np.asarray(image.convert("L"))[8].min() > 200
    assert np.asarray(image.convert("L"))[56].max() < 150


def test_a_video_that_can_not_be_opened_ends_the_stream_after_the_images_before_it(
    frames: Frames, tmp_path: Path
) -> None:
    places = [video(tmp_path / "a.mp4", [100]), tmp_path / "b.mp4"]
    places[1].write_bytes(b"no video")
    encoder = ImageEncoder(backend=ToyBackend())
    rows = 0
    with pytest.raises(av.FFmpegError):
        for batch in encoder.stream((image for place in places for _, image in frames(str(place))), 1):
            rows += len(batch.embeddings)
    assert rows == 2
