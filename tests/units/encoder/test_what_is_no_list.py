"""What holds images but is no list of them gets a message that says what to pass."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader

from clip_image_encoder import ConfigurationError, ImageEncoder, UnsupportedImageError

PIXELS = torch.zeros((2, 3, 8, 8), dtype=torch.uint8)
LABELS = torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("images", "advice"),
    [
        ({"image": PIXELS, "label": LABELS}, "a dict .* the value that holds the images"),
        ([PIXELS, LABELS], r"2 images \(2, 3, 8, 8\); pass them alone"),
        ((PIXELS.numpy(),), "pass them alone"),
        (pa.table({"path": ["a.png"], "label": [1]}), "a Table has columns; pass the one that holds the images"),
        (pa.array(["a.png"]), r"a StringArray .* to_pylist\(\)"),
        (pa.chunked_array([["a.png"]]), r"a ChunkedArray .* to_pylist\(\)"),
    ],
    ids=["a batch as dict", "a batch as list", "a batch in a tuple", "a table", "a column of pyarrow", "in chunks"],
)
def test_it_is_refused_with_what_to_pass(toy: ImageEncoder, images: object, advice: str) -> None:
    with pytest.raises(ConfigurationError, match=advice):
        toy.encode(images)  # type: ignore[arg-type]


def test_the_images_of_a_batch_alone_are_encoded(toy: ImageEncoder) -> None:
    assert toy.encode([PIXELS, LABELS][0]).shape == (2, toy.dimension)


@pytest.mark.parametrize("record", [(PIXELS[0], 1), {"image": PIXELS[0], "label": 1}], ids=["pairs", "dicts"])
def test_a_data_loaders_own_batches_are_named_for_what_they_are(toy: ImageEncoder, record: object) -> None:
    loader: DataLoader[object] = DataLoader([record, record], batch_size=2)  # type: ignore[arg-type]  # a list is enough
    with pytest.raises(UnsupportedImageError, match="a DataLoader's batch of images and labels"):
        toy.encode(loader)


def test_a_list_of_arrays_of_one_image_each_stays_a_list_of_images(toy: ImageEncoder) -> None:
    assert toy.encode([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)]).shape == (2, toy.dimension)
