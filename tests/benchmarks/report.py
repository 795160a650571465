"""The benchmark's table and plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

__all__ = ["write_plot", "write_table"]


Figures: TypeAlias = Mapping[str, float]


def write_table(
    file: Path, summary: Mapping[str, Figures], *, limits: Figures, gflop_an_image: float, machine: str, cores: int
) -> None:
    """Write the tables in Markdown.

    Args:
        file: where to.
        summary: the figures of each system, the first of which is what the others are compared with.
        limits: GFLOP/s of matrix products, by dtype.
        gflop_an_image: what the model needs for one picture.
        machine: the processor and the versions.
        cores: how many there are.
    """
    first = next(iter(summary.values()))["images_a_second"]
    lines = [
        "# Files to vectors on a CPU",
        "",
        f"{machine}. ViT-B/32 with random weights; medians of whole processes, run in turn by `nox -s bench`.",
        "",
        "| system | to the first | images/s | one image: p50 | p95 | first vector: cold | warm | memory | cosine |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_system_row(name, figures, first) for name, figures in summary.items()),
        "",
        "The second column is the ratio of images a second to the first system; absolute numbers mean little on a "
        "shared machine. "
        "`exact` decodes big JPEGs in full, all others of ours at a part of their size. The first vector counts from "
        "the start of the process, imports included; the cold start of onnx and openvino exports the graph, and that "
        "of int8 fits it to 128 pictures. The cosine is the least of all pictures to `torch float32 exact`; the "
        "other packages ignore the EXIF orientation of photos. What int8 costs shows with trained weights only, as in "
        "[the numbers that change](../explanation/numerics.md).",
        "",
        "## Where the time goes",
        "",
        f"Matrix products reach {limits['float32']:.0f} GFLOP/s in float32 and {limits['bfloat16']:.0f} in bfloat16 "
        f"here, and the model needs {gflop_an_image} GFLOP an image.",
        "",
        "| system | model alone, images/s | of the matrix limit | loading an image, on one core | of what both allow |",
        "| --- | --- | --- | --- | --- |",
        *(
            _parts_row(name, figures, limits.get(name.split()[1]), gflop_an_image, cores)
            for name, figures in summary.items()
            if "model" in figures
        ),
        "",
        "The model alone is timed on batches of 32 arrays. Loading is decoding, resizing and cropping, nearly all of "
        "it in Pillow. Both share the cores: if nothing were lost between them, they would allow "
        "`1 / (loading / cores + 1 / model)` images a second.",
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def _system_row(name: str, figures: Figures, first: float) -> str:
    cells = (
        name,
        f"{figures['images_a_second'] / first:.2f}x",
        f"{figures['images_a_second']:.1f}",
        f"{figures['p50'] * 1000:.0f} ms",
        f"{figures['p95'] * 1000:.0f} ms",
        f"{figures['first_vector_cold']:.1f} s",
        f"{figures['first_vector']:.1f} s",
        f"{figures['memory']:.0f} MB",
        # Random weights have no outlier channels, and would hide what int8 costs.
        "" if name.endswith("int8") else f"{figures['cosine']:.5f}",
    )
    return f"| {' | '.join(cells)} |"


def _parts_row(name: str, figures: Figures, limit: float | None, gflop_an_image: float, cores: int) -> str:
    allowed = 1 / (figures["loading"] / cores + 1 / figures["model"])
    cells = (
        name,
        f"{figures['model']:.0f}",
        f"{figures['model'] * gflop_an_image / limit:.0%}" if limit else "",
        f"{figures['loading'] * 1000:.1f} ms",
        f"{figures['images_a_second'] / allowed:.0%}",
    )
    return f"| {' | '.join(cells)} |"


def write_plot(file: Path, summary: Mapping[str, Figures]) -> None:
    """Draw the ratios as bars."""
    from matplotlib import pyplot

    first = next(iter(summary.values()))["images_a_second"]
    names = list(summary)[::-1]
    ratios = [summary[name]["images_a_second"] / first for name in names]
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(names) + 1), layout="constrained")
    ours = [not name.startswith(("sentence-transformers", "transformers", "fastembed")) for name in names]
    bars = axes.barh(names, ratios, color=["#2563eb" if own else "#9ca3af" for own in ours])
    axes.bar_label(bars, [f"{ratio:.1f}x" for ratio in ratios], padding=3)
    axes.set_xlabel("images a second, files to vectors, as a ratio to sentence-transformers in float32")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    figure.savefig(file, dpi=120)
