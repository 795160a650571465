"""uint8 arrays at the model's own size pass as they are, and mean what they mean in any other way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import (
    ClipPreprocess,
    ImageEncoder,
    ImageLoader,
    NaflexPreprocess,
    OpenClipPreprocess,
    UnsupportedImageError,
)
from clip_image_encoder._left_alone import LeftAlone
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend

SIDE = 32
ARRAYS = np.random.default_rng(5).integers(0, 256, (7, SIDE, SIDE, 3), np.uint8)
LEAVES_ALONE = [
    ClipPreprocess(resize=SIDE, crop=(SIDE, SIDE)),
    ClipPreprocess(resize=(SIDE, SIDE), crop=None, exact=False),
    ClipPreprocess(resize=None, crop=(SIDE, SIDE)),
    OpenClipPreprocess(size=(SIDE, SIDE)),
    OpenClipPreprocess(size=(SIDE, SIDE), resize_mode="longest", exact=False),
    OpenClipPreprocess(size=(SIDE, SIDE), resize_mode="squash"),
]
CHANGES = [
    ClipPreprocess(resize=40, crop=(SIDE, SIDE)),
    ClipPreprocess(resize=24, crop=(SIDE, SIDE)),
    ClipPreprocess(resize=(40, 50), crop=(SIDE, SIDE)),
]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the loader is called with."""
    items: list[object] = []
    load = ImageLoader.__call__

    def call(self: ImageLoader, item: object, /, **settings: Any) -> Image.Image:
        items.append(item)
        return load(self, item, **settings)

    monkeypatch.setattr(ImageLoader, "__call__", call)
    return items


@pytest.fixture(scope="module", params=["torch", "onnx", "openvino"])
def tiny_shapes(request: pytest.FixtureRequest) -> ImageEncoder:
    return ImageEncoder("tiny-shapes", backend=request.param, device="cpu")


def encoder(preprocess: Any = None, **settings: Any) -> ImageEncoder:
    return ImageEncoder(backend=ToyBackend(image_size=(SIDE, SIDE)), preprocess=preprocess, **settings)


def through_the_loader(preprocess: Any) -> NDArray[np.float32]:
    return encoder(preprocess).encode([Image.fromarray(array) for array in ARRAYS])


@pytest.mark.parametrize("preprocess", [*LEAVES_ALONE, *CHANGES], ids=repr)
@pytest.mark.parametrize("given", [list, np.asarray, iter], ids=["list", "array", "generator"])
def test_vectors_are_those_of_the_same_images(preprocess: Any, given: Callable[[Any], Any]) -> None:
    vectors = encoder(preprocess).encode(given(ARRAYS), 3)
    np.testing.assert_array_equal(vectors, through_the_loader(preprocess))


@pytest.mark.parametrize("preprocess", LEAVES_ALONE, ids=repr)
def test_neither_loader_nor_preprocess_is_called(preprocess: Any, decoded: list[object]) -> None:
    made = encoder(preprocess)
    decoded.clear()
    made.encode(ARRAYS)
    made.encode(list(ARRAYS))
    assert not decoded


class Watched(ToyBackend):
    """A toy that keeps the pixels that it is called with."""

    def __call__(self, pixels: Pixels, /, **asked: Any) -> Any:
        PIXELS.append(pixels)
        return super().__call__(pixels, **asked)


PIXELS: list[Pixels] = []


class Watching(ToyBackend):
    """A toy that notes whether threads that load are there."""

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        HAS_THREADS.append(any(thread.name.startswith("clip_image_encoder") for thread in threading.enumerate()))
        return super().__call__(pixels, output=output, device=device)


HAS_THREADS: list[bool] = []


@pytest.mark.parametrize(
    ("images", "has_threads"),
    [
        (ARRAYS, False),
        (list(ARRAYS), False),
        ([*ARRAYS, Image.new("RGB", (40, 40))], True),
        (np.zeros((3, 40, 40, 3), np.uint8), True),
        (iter(ARRAYS), True),
    ],
    ids=["array", "list", "list with another", "array of another size", "generator"],
)
def test_no_thread_loads_them_where_all_are_seen_at_the_start(images: Any, has_threads: bool) -> None:
    HAS_THREADS.clear()
    ImageEncoder(backend=Watching(image_size=(SIDE, SIDE)), num_workers=2).encode(images, 2)
    assert any(HAS_THREADS) is has_threads


class LoadsDarker(ImageLoader):
    def __call__(self, item: object, /, *, model_size: tuple[int, int] | None = None) -> Image.Image:
        return super().__call__(item, model_size=model_size).point(lambda value: value // 2)


class CropsDarker(ClipPreprocess):
    def __call__(self, image: Image.Image, /) -> NDArray[np.uint8]:
        return (super().__call__(image) // 2).astype(np.uint8)


def normalized(image: Image.Image) -> NDArray[np.float32]:
    return np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255)


@pytest.mark.parametrize(
    "settings",
    [
        {"loader": LoadsDarker()},
        {"preprocess": CropsDarker(resize=SIDE, crop=(SIDE, SIDE))},
        {"preprocess": normalized},
        *({"preprocess": preprocess} for preprocess in CHANGES),
    ],
    ids=repr,
)
def test_whatever_could_change_them_is_called(settings: dict[str, Any]) -> None:
    PIXELS.clear()
    ImageEncoder(backend=Watched(image_size=(SIDE, SIDE)), **settings).encode(ARRAYS)
    assert not np.array_equal(np.concatenate(PIXELS), ARRAYS)


def test_images_that_keep_their_aspect_ratio_have_no_one_size_that_is_left_alone() -> None:
    assert LeftAlone.by(ImageLoader(), NaflexPreprocess(patch_size=8, max_num_patches=16)).shape is None


@pytest.mark.parametrize(
    ("array", "reason"),
    [(np.zeros((3, SIDE, SIDE, 3)), "an image has 2 or 3 axes"), (np.zeros((SIDE, SIDE, 5), np.uint8), "channels")],
    ids=["four axes", "five channels"],
)
def test_what_is_wrong_is_named_by_its_place(array: NDArray[Any], reason: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"image 2 .*{reason}"):
        encoder().encode([ARRAYS[0], ARRAYS[1], array])


def test_channels_that_come_first_by_the_loaders_word_are_not_last() -> None:
    made = encoder(loader=ImageLoader(channels="first"))
    with pytest.raises(UnsupportedImageError, match="as its first axis"):
        made.encode(ARRAYS)


def test_a_limit_of_pixels_holds() -> None:
    with pytest.raises(ValueError, match="max_pixels"):
        encoder(loader=ImageLoader(max_pixels=SIDE)).encode(ARRAYS)


def test_a_masked_array_is_refused() -> None:
    masked = np.ma.masked_equal(ARRAYS[0], ARRAYS[0, 0, 0, 0])
    with pytest.raises(UnsupportedImageError, match="masked"):
        encoder().encode([masked])


def test_an_array_that_is_filled_anew_for_each_image_may_be_given() -> None:
    def frames() -> Any:
        frame = np.empty((SIDE, SIDE, 3), np.uint8)
        for array in ARRAYS:
            frame[...] = array
            yield frame

    made = encoder(num_workers=0)
    np.testing.assert_array_equal(made.encode(frames(), 4), made.encode(ARRAYS))


def test_rows_of_a_file_that_is_mapped_and_not_contiguous_are_read(tmp_path: Any) -> None:
    np.save(tmp_path / "arrays.npy", ARRAYS)
    mapped = np.load(tmp_path / "arrays.npy", mmap_mode="r")
    made = encoder()
    np.testing.assert_array_equal(made.encode(mapped), made.encode(ARRAYS))
    np.testing.assert_array_equal(made.encode(list(ARRAYS[:, ::-1, ::-1])), made.encode(ARRAYS[:, ::-1, ::-1].copy()))


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: array[:, ::-1, ::-1],
        lambda array: np.asfortranarray(array),
        lambda array: array[::2],
        lambda array: np.require(array.copy(), requirements="O"),
    ],
    ids=["plain", "flipped", "in Fortran's order", "every second", "own"],
)
@pytest.mark.parametrize("is_writable", [True, False], ids=["writable", "read-only"])
def test_arrays_reach_each_runtime_as_they_are_and_stay_so(
    tiny_shapes: ImageEncoder, change: Callable[[Any], Any], is_writable: bool
) -> None:
    array = np.random.default_rng(1).integers(0, 256, (6, 64, 64, 3), np.uint8)
    images = change(array)
    images.flags.writeable = is_writable
    before = images.copy()
    vectors = tiny_shapes.encode(images, 4)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(vectors, tiny_shapes.encode([Image.fromarray(image) for image in before], 4), atol=1e-6)


def pixels_of(images: Any) -> list[Pixels]:
    """Return the pixels that a backend is called with."""
    PIXELS.clear()
    ImageEncoder(backend=Watched(image_size=(SIDE, SIDE))).encode(images, 3)
    return PIXELS


def test_an_array_is_not_copied() -> None:
    assert [np.shares_memory(pixels, ARRAYS) for pixels in pixels_of(ARRAYS)] == [True] * 3


def test_a_backend_gets_pixels_in_the_order_of_c() -> None:
    assert all(pixels.flags.c_contiguous for pixels in pixels_of(ARRAYS[:, ::-1]))
