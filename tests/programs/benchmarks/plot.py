"""The benchmark's plot, drawn from its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tests.programs.benchmarks.report import AVX2
from tests.programs.benchmarks.results import Part

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_plot"]

_OURS, _THEIRS, _HELD = "#2563eb", "#9ca3af", "#93c5fd"
_SHADES = ("#9ca3af", "#1e3a8a", "#2563eb", "#7c3aed", "#0891b2", "#22d3ee")
_TOWERS = ("b-32", "b-16", "l-14", "so400m")


def write_plot(file: Path, results: Mapping[str, Part]) -> None:
    """Draw what was measured of photos: ViT-B/32 with each system, and the towers beside each other."""
    from matplotlib import pyplot

    towers = {name: results[name] for name in _TOWERS if name in results}
    if "b-32" not in towers:
        return
    systems = len(towers["b-32"].systems)
    panels = 1 if len(towers) == 1 else 2
    size = (7 * panels, 0.45 * systems + 1.5)
    figure, grid = pyplot.subplots(1, panels, figsize=size, layout="constrained", facecolor="white", squeeze=False)
    _draw_systems(grid[0][0], towers["b-32"], results.get(f"b-32{AVX2}"))
    if panels > 1:
        _draw_towers(grid[0][1], towers)
    for axes in grid[0]:
        axes.spines[["top", "right"]].set_visible(False)
    cores = towers["b-32"].cores
    figure.suptitle(
        f"Photos to vectors on {cores} cores\nimages a second, as a ratio to sentence-transformers in float32"
    )
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _draw_systems(axes: Axes, part: Part, held: Part | None) -> None:
    names = part.systems[::-1]
    theirs = ("sentence-transformers", "transformers", "fastembed")
    colors = [_THEIRS if name.startswith(theirs) else _OURS for name in names]
    both = [place for place, name in enumerate(names) if held and name in held.systems]
    places = [place + 0.2 if place in both else place for place in range(len(names))]
    heights = [0.4 if place in both else 0.8 for place in range(len(names))]
    ratios = [part.ratio(name) for name in names]
    bars = axes.barh(places, ratios, height=heights, color=colors)
    axes.bar_label(bars, [f"{ratio:.1f}x" for ratio in ratios], padding=3)
    if held:
        ratios = [held.ratio(names[place]) for place in both]
        bars = axes.barh([place - 0.2 for place in both], ratios, height=0.4, color=_HELD, label="held to AVX2")
        axes.bar_label(bars, [f"{ratio:.1f}x" for ratio in ratios], padding=3, fontsize="small")
        axes.legend(loc="lower right", frameon=False)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(part.title)
    axes.margins(x=0.12)


def _draw_towers(axes: Axes, towers: Mapping[str, Part]) -> None:
    shown = [name for name in towers["b-32"].systems if all(name in part.systems for part in towers.values())]
    width = 0.85 / len(shown)
    for number, (name, color) in enumerate(zip(shown, _SHADES, strict=False)):
        places = [place + (number - (len(shown) - 1) / 2) * width for place in range(len(towers))]
        ratios = [part.ratio(name) for part in towers.values()]
        bars = axes.bar(places, ratios, width=width, color=color, label=name)
        axes.bar_label(bars, [f"{ratio:.1f}" for ratio in ratios], padding=2, fontsize="small")
    axes.set_xticks(range(len(towers)), [part.title for part in towers.values()])
    axes.set_title("by tower")
    axes.legend(loc="upper right", frameon=False, fontsize="small")
    axes.margins(y=0.25)
