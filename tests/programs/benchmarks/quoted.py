"""What README and docs quote from the benchmark, between the comments `<!-- cpu.json: NAME -->` and `<!-- -->`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from tests.programs.benchmarks.report import serving_table
from tests.programs.benchmarks.results import LIMITS, Part, Results

__all__ = ["PAGES", "quote", "quote_everywhere"]

ROOT = Path(__file__).parents[3]

PAGES = (
    "README.md",
    "docs/how-to/speed.md",
    "docs/tutorial/index.md",
    "docs/how-to/million-images.md",
    "docs/how-to/serve.md",
    "docs/how-to/migration.md",
)

_QUOTE = re.compile(r"(<!-- cpu\.json: ([a-z-]+) -->)(.*?)(<!-- -->)", re.DOTALL)


def _best(part: Part, dtype: str) -> float:
    """Return the highest ratio of our systems of a dtype."""
    ours = ("torch", "onnx", "openvino")
    return max(part.ratio(name) for name in part.systems if name.startswith(ours) and name.split()[1] == dtype)


def _speed(results: Mapping[str, Part]) -> str:
    part = results["b-32"]
    return (
        f"from photos to vectors, on two cores of a server with AVX-512, {_best(part, 'float32'):.1f} times as many "
        f"images a second as sentence-transformers in float32, {_best(part, 'bfloat16'):.1f} times in bfloat16, "
        f"{_best(part, 'int8'):.1f} times in int8"
    )


def _plot(results: Mapping[str, Part]) -> str:
    part = results["b-32"]
    ratios = [part.ratio(system) for system in part.systems]
    return (
        f"![Images a second of {len(ratios)} systems, as a ratio to sentence-transformers in float32: from "
        f"{min(ratios):.1f} to {max(ratios):.1f}](../benchmarks/cpu.png)"
    )


def _hardware(results: Mapping[str, Part]) -> str:
    part = results["b-32"]
    systems = ("torch float32", "torch bfloat16", "openvino bfloat16")
    alone = [f"{100 * (part.model_share(system) or 0):.0f} % with `{system}`" for system in systems]
    whole = [f"{100 * (part.share(system) or 0):.0f} %" for system in systems]
    loading = part.figure("torch float32", "loading") * 1000
    entropy = part.figure(LIMITS, "entropy") * 1000
    return (
        f"On the benchmark's machine, two cores with AVX-512, the model alone reaches {_listed(alone)} of the rate at "
        f"which the processor multiplies matrices in that dtype. Loading takes {loading:.1f} ms of a core for a "
        f"photo, of which {entropy:.1f} ms are the entropy decoding of JPEG. From files to vectors, matrix products "
        f"and entropy decoding alone would take {_listed(whole)} of the time."
    )


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _photos_a_second(results: Mapping[str, Part]) -> str:
    return f"about {results['b-32'].figure('torch float32', 'rate'):.0f} photos a second"


def _million(results: Mapping[str, Part]) -> str:
    rate = results["b-32"].figure("torch bfloat16", "rate")
    return (
        f"At the {rate:.0f} images a second that `torch` in bfloat16 reached on two cores in "
        f"[the benchmark](../benchmarks/cpu.md), a million take about {1e6 / rate / 3600:.1f} hours."
    )


def _cosine(results: Mapping[str, Part]) -> str:
    return f"{results['b-32'].cosines['fastembed float32']:.3f}"


def _serving(results: Mapping[str, Part]) -> str:
    return f"\n\n{serving_table(results['serving'])}\n\n"


def _lone(results: Mapping[str, Part]) -> str:
    part = results["serving"]
    directly = part.figure("serving", "a lone caller: p50") * 1000
    added = part.figure("serving", "a lone caller, batcher: p50") * 1000 - directly
    more = f"{abs(added):.0f} ms {'more' if added >= 0 else 'less'}"
    return f"A lone caller waits {directly:.0f} ms with `encode`, and {more} through the batcher."


Quote: TypeAlias = Callable[[Mapping[str, Part]], str]

QUOTES: Mapping[str, tuple[Quote, tuple[str, ...]]] = MappingProxyType(
    {
        "speed": (_speed, ("b-32",)),
        "plot": (_plot, ("b-32",)),
        "hardware": (_hardware, ("b-32",)),
        "photos-a-second": (_photos_a_second, ("b-32",)),
        "million": (_million, ("b-32",)),
        "cosine": (_cosine, ("b-32",)),
        "serving": (_serving, ("serving",)),
        "lone": (_lone, ("serving",)),
    }
)
"""What writes each quote, and the steps that it needs."""


def quote(text: str, results: Mapping[str, Part]) -> str:
    """Return a page with its quotes written anew; those stay whose steps were not measured."""

    def written(found: re.Match[str]) -> str:
        write, steps = QUOTES[found[2]]
        return f"{found[1]}{write(results)}{found[4]}" if all(step in results for step in steps) else found[0]

    return _QUOTE.sub(written, text)


def quote_everywhere(results: Results) -> None:
    """Write the quotes of all pages anew."""
    for name in PAGES:
        page = ROOT / name
        page.write_text(quote(page.read_text("utf-8"), results), "utf-8")
