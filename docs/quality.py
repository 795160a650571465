"""Measure a model by tasks of MTEB, or by tasks of drawn images, which need no network.

python docs/quality.py
python docs/quality.py openai/clip-vit-base-patch32 CIFAR10ZeroShot Flickr30kT2IRetrieval
"""

import argparse
from functools import cache
from itertools import product
from typing import Any

import mteb
import numpy as np
from datasets import Dataset, Image
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification

from clip_image_encoder.integrations.mteb import ClipEncoder
from clip_image_encoder.tiny_shapes.draw import COLORS, SHAPES, draw, random_scene

NAMES = [f"a {color} {shape}" for color, shape in product(COLORS, SHAPES)]


@cache
def draw_pictures() -> Dataset:
    """Return an image of each name, with the name's place among all as its label."""
    generator = np.random.default_rng(20)
    scenes = [random_scene(generator, color=color, shape=shape) for color, shape in product(COLORS, SHAPES)]
    columns = {"id": list(map(str, range(len(NAMES)))), "image": list(map(draw, scenes)), "label": range(len(NAMES))}
    return Dataset.from_dict(columns).cast_column("image", Image())


def describe(name: str, kind: str, score: str) -> TaskMetadata:
    """Return what MTEB wants to know of a task."""
    return TaskMetadata(
        name=name,
        description="Drawn shapes of one color each.",
        type=kind,
        category="t2i",
        modalities=["text", "image"],
        main_score=score,
        eval_langs=["eng-Latn"],
        dataset={"path": "drawn/shapes", "revision": "1"},
        prompt={"query": "Find the shape."},
    )


class ShapesZeroShot(AbsTaskZeroShotClassification):  # type: ignore[misc]
    """Which of 88 names is each image's?"""

    metadata = describe("ShapesZeroShot", "ZeroShotClassification", "accuracy")

    def load_data(self, **_: Any) -> None:
        """Draw the images, instead of a download."""
        self.dataset = {"test": draw_pictures()}
        self.data_loaded = True

    def get_candidate_labels(self) -> list[str]:
        """Return all names."""
        return NAMES


class ShapesRetrieval(AbsTaskRetrieval):  # type: ignore[misc]
    """Which images does each name find?"""

    metadata = describe("ShapesT2IRetrieval", "Any2AnyRetrieval", "ndcg_at_10")

    def load_data(self, **_: Any) -> None:
        """Draw the images, instead of a download."""
        pictures = draw_pictures()
        split = {
            "corpus": pictures.select_columns(["id", "image"]),
            "queries": Dataset.from_dict({"id": pictures["id"], "text": NAMES}),
            "relevant_docs": {place: {place: 1} for place in pictures["id"]},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


def measure(encoder: ClipEncoder, tasks: list[Any]) -> dict[str, float]:
    """Return the main score of each task, by the task's name."""
    results = mteb.evaluate(encoder, tasks, cache=None, co2_tracker=False, show_progress_bar=False)
    return {result.task_name: result.get_score() for result in results.task_results}


def main() -> None:
    """Print a line for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny-shapes")
    parser.add_argument("tasks", nargs="*", help="names of MTEB's tasks; none means the drawn ones")
    parser.add_argument("--backend")
    parser.add_argument("--dtype", default="auto")
    arguments = parser.parse_args()
    tasks = mteb.get_tasks(tasks=arguments.tasks) if arguments.tasks else [ShapesZeroShot(), ShapesRetrieval()]
    encoder = ClipEncoder(arguments.model, backend=arguments.backend, dtype=arguments.dtype)
    for name, score in measure(encoder, tasks).items():
        print(f"{score:.4f}  {name}")


if __name__ == "__main__":
    main()
