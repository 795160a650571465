"""The benchmark's table and plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_plot", "write_table"]


def write_table(
    file: Path,
    summary: Mapping[str, Mapping[str, float]],
    peak: Mapping[str, float],
    gflop_an_image: float,
    machine: str,
) -> None:
    """Write a Markdown table, each figure as a ratio to the first system where ratios mean more than numbers."""
    first = next(iter(summary.values()))
    lines = [
        "# Files to vectors on a CPU",
        "",
        f"{machine}. ViT-B/32 with random weights; medians of whole processes, run in turn by `nox -s bench`.",
        f"Matrix products reach {peak['float32']:.0f} GFLOP/s in float32 and {peak['bfloat16']:.0f} in bfloat16 here.",
        "",
        "| system | images/s | ratio | model alone | of the matrix limit | p50 of one image | p95 | first vector, cold "
        "| warm | memory | least cosine |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, figures in summary.items():
        model, share = "", ""
        if "model" in figures:
            model = f"{figures['model']:.0f}/s"
            limit = peak.get(name.split()[1])
            share = f"{figures['model'] * gflop_an_image / limit:.0%}" if limit else ""
        lines.append(
            f"| {name} | {figures['images_a_second']:.1f} | "
            f"{figures['images_a_second'] / first['images_a_second']:.2f}x | {model} | {share} | "
            f"{figures['p50'] * 1000:.0f} ms | {figures['p95'] * 1000:.0f} ms | {figures['first_vector_cold']:.1f} s | "
            f"{figures['first_vector']:.1f} s | {figures['memory']:.0f} MB | {figures['cosine']:.5f} |"
        )
    lines += [
        "",
        "`exact` decodes big JPEGs in full, all others of ours at a part of their size. The model alone is timed on "
        "batches of 32 arrays, and its matrix products are compared with the limit. The first vector counts from the "
        "start of the process, imports included; the cold start of onnx and openvino exports the graph, and that of "
        "int8 fits it to 128 pictures. The least cosine is to `torch float32 exact`, over all pictures; the other "
        "packages ignore the EXIF orientation of photos.",
    ]
    file.write_text("\n".join(lines) + "\n", "utf-8")


def write_plot(file: Path, summary: Mapping[str, Mapping[str, float]]) -> None:
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
