"""ImageVectorizer among scikit-learn's own: cloned, searched over, pickled, in a Pipeline."""

from __future__ import annotations

import doctest
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline

from clip_image_encoder import ImageEncoder, ImageError, ImageLoader, TextEncoder
from clip_image_encoder.integrations import sklearn as integration
from clip_image_encoder.integrations.sklearn import ImageVectorizer
from clip_image_encoder.tiny_shapes.draw import Scene, draw, random_scenes


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return list(random_scenes(60, seed=8))


@pytest.fixture(scope="module")
def pictures(scenes: list[Scene]) -> list[Image.Image]:
    return [draw(scene) for scene in scenes]


def test_the_vectors_are_the_encoders(pictures: list[Image.Image]) -> None:
    vectors = ImageVectorizer("tiny-shapes").fit_transform(pictures)
    np.testing.assert_allclose(vectors, ImageEncoder("tiny-shapes").encode(pictures), atol=1e-6)


def test_a_clone_has_the_same_parameters_and_no_model() -> None:
    fitted = ImageVectorizer("tiny-shapes", batch_size=7, on_error="nan").fit()
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "encoder_")


def test_an_encoder_may_be_given_and_a_clone_shares_it(pictures: list[Image.Image]) -> None:
    encoder = ImageEncoder("tiny-shapes", loader=ImageLoader(background=(0, 0, 0)), num_workers=1)
    copied = clone(ImageVectorizer(encoder, normalize=False))
    assert copied.fit().encoder_ is encoder
    np.testing.assert_array_equal(copied.transform(pictures), encoder.encode(pictures, normalize=False))


def test_before_it_is_fitted_it_says_so(pictures: list[Image.Image]) -> None:
    with pytest.raises(NotFittedError):
        ImageVectorizer("tiny-shapes").transform(pictures)


@pytest.mark.filterwarnings("ignore:.*SciPy 1.18")  # scikit-learn 1.7 uses what newer SciPys deprecate
def test_a_pipeline_learns_colors_and_a_search_may_change_its_parameters(
    scenes: list[Scene], pictures: list[Image.Image]
) -> None:
    warm = [scene.color in ("red", "orange", "yellow", "pink", "brown") for scene in scenes]
    pipeline = make_pipeline(ImageVectorizer("tiny-shapes"), LogisticRegression(C=100))
    search = GridSearchCV(pipeline, {"imagevectorizer__batch_size": [8, 64]}, cv=2)
    assert search.fit(pictures[:40], warm[:40]).score(pictures[40:], warm[40:]) > 0.8


def test_a_pickle_of_a_fitted_one_gives_the_same_vectors(pictures: list[Image.Image]) -> None:
    fitted = ImageVectorizer("tiny-shapes").fit()
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.transform(pictures[:5]), fitted.transform(pictures[:5]))


def test_images_of_an_exported_folder_are_found_by_words(exported: Path, gallery: dict[str, Path]) -> None:
    pipeline = make_pipeline(clone(ImageVectorizer(exported)), NearestNeighbors(n_neighbors=1))
    restored = pickle.loads(pickle.dumps(pipeline.fit(list(gallery.values()))))
    assert restored.get_params()["imagevectorizer__encoder"] == exported
    found = restored[-1].kneighbors(TextEncoder(exported).encode(list(gallery)), return_distance=False)
    assert found[:, 0].tolist() == list(range(len(gallery)))
    np.testing.assert_allclose(
        restored[0].transform(gallery.values()), ImageEncoder("tiny-shapes").encode(gallery.values()), atol=1e-5
    )


def test_a_bad_image_stops_it_or_is_a_row_of_nan(pictures: list[Image.Image]) -> None:
    several = [pictures[0], b"no picture", pictures[1]]
    with pytest.raises(ImageError, match="image 1"):
        ImageVectorizer("tiny-shapes").fit_transform(several)
    with pytest.warns(UserWarning, match="1 of the images"):
        vectors = ImageVectorizer("tiny-shapes", on_error="nan").fit_transform(several)
    assert np.isnan(vectors).any(axis=1).tolist() == [False, True, False]


def test_features_have_names() -> None:
    names = ImageVectorizer("tiny-shapes").fit().get_feature_names_out()
    assert names[0] == "clip0"
    assert len(names) == 64


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
