"""The documents that the page makes; there is no server to send them to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clip_image_encoder import ImageEncoder
from tests.integrations.pages import names_of

PAGE = names_of("integrations/elasticsearch.md")


def test_an_image_is_a_document_with_its_vector_or_its_error(
    gallery: dict[str, Path], bad_file: Path, passes: list[int]
) -> None:
    encoder = ImageEncoder("tiny-shapes", device="cpu")
    good = list(map(str, gallery.values()))
    documents = {document["_id"]: document for document in PAGE["actions"](encoder, [str(bad_file), *good])}
    assert passes == [9]
    assert {document["path"] for document in documents.values()} == {str(bad_file), *good}
    bad = documents.pop(str(bad_file))
    assert "not an image" in bad["error"]
    assert "embedding" not in bad
    vectors = np.array([documents[path]["embedding"] for path in good], np.float32)
    np.testing.assert_allclose(vectors, encoder.encode(good), atol=1e-6)
