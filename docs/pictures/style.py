"""How the pictures of the pages look: each is drawn twice, for light pages and for dark ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

__all__ = ["Theme", "save", "show"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colors of a page.

    Attributes:
        name: ends the file's name.
        page: the background.
        ink: for text and lines.
        faint: for what is less important.
        lines: for curves and bars, easy to tell apart, also for people who see few colors.
        shades: matplotlib's name of a color map from the page's color to a strong one.
    """

    name: Literal["light", "dark"]
    page: str
    ink: str
    faint: str
    lines: tuple[str, ...]
    shades: str

    @property
    def settings(self) -> Any:
        """What matplotlib calls these colors, as `rc_context` takes them."""
        return {
            "axes.edgecolor": self.faint,
            "axes.facecolor": self.page,
            "axes.labelcolor": self.ink,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 11,
            "figure.facecolor": self.page,
            "font.size": 11,
            "grid.color": self.faint,
            "grid.alpha": 0.35,
            "legend.frameon": False,
            "savefig.dpi": 100,
            "savefig.facecolor": self.page,
            # The same drawing gives the same file.
            "svg.hashsalt": "clip_image_encoder",
            "text.color": self.ink,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
        }


_LIGHT = Theme(
    name="light",
    page="#ffffff",
    ink="#22252b",
    faint="#8a8f98",
    lines=("#0072b2", "#d55e00", "#009e73", "#b0578d"),
    shades="Blues",
)
_DARK = Theme(
    name="dark",
    page="#1e2129",
    ink="#e3e6ec",
    faint="#868d9a",
    lines=("#56b4e9", "#f0914a", "#3fc79a", "#d98fc0"),
    shades="Blues_r",
)


def save(name: str, draw: Callable[[Theme], Figure], *, kind: Literal["png", "svg"]) -> None:
    """Draw a picture in both themes, into `NAME-light.KIND` and `NAME-dark.KIND` beside this file."""
    for theme in (_LIGHT, _DARK):
        with matplotlib.rc_context(theme.settings):
            file = _FOLDER / f"{name}-{theme.name}.{kind}"
            # Without the date and the version, which would make every drawing another file.
            metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
            draw(theme).savefig(file, metadata=metadata)
            if kind == "png":
                _fewer_colors(file)
        print(f"{file.name}: {file.stat().st_size // 1000} kB")


def show(axes: Axes, image: Image.Image, *, title: str = "", below: str = "") -> None:
    """Put a picture into axes of its own, with words above and below."""
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(below, fontsize=9)


def _fewer_colors(file: Path) -> None:
    """Write a PNG with a palette: a third of the bytes, and nobody sees it."""
    with Image.open(file) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
