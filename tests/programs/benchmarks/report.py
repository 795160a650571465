"""The benchmark's page, written from its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.programs.benchmarks.results import LIMITS, Part

__all__ = ["AVX2", "page", "serving_table", "write_page"]

AVX2 = "-avx2"
"""How the names of steps end whose libraries are held to AVX2."""

_COLUMNS = MappingProxyType(
    {
        "b-32": ("ViT-B/32", "one photo"),
        "b-16": ("ViT-B/16",),
        "l-14": ("ViT-L/14",),
        "so400m": ("SigLIP so400m at 384",),
        "texts": ("texts", "one text"),
    }
)
"""The columns that a step has in the first table; those of a second name are from single calls."""

_ZEN_3 = MappingProxyType(
    {
        "sentence-transformers float32": "1.00x",
        "fastembed float32": "1.29x",
        "torch float32": "1.44x",
        "onnx float32": "1.62x",
        "onnx int8": "1.94x",
        "openvino float32": "1.61x",
        "openvino int8": "1.37x",
    }
)
"""Images a second of ViT-B/32, measured by hand."""

_METHOD = """\
Each system is a process of its own, with seeded random weights that the reference library wrote. A round has every \
system once, and a ratio is the median of the ratios within the rounds; absolute numbers mean little on a shared \
machine. `nox -s bench -- --images FOLDER` repeats it with your photos."""

_AVX2 = """\
The same processor, whose libraries are made to believe that it has AVX2 and no AVX-512: by variables, and where there \
are none, in ONNX Runtime and in OpenVINO, by patched copies that are told so when they ask \
(`tests/programs/benchmarks/hold.py`). One matrix product in float32 shows that it works: with oneDNN, ONNX Runtime \
and OpenVINO it takes 1.8 to 1.9 times as long. With MKL, with which sentence-transformers multiplies, it takes as \
long as before: MKL doesn't use AVX-512 on AMD's processors. A processor that has AVX2 alone differs in more than \
that. So the last column was measured on an AMD EPYC with Zen 3, with 45 photos on two cores, before images were \
resized more quickly and before int8 was fitted anew."""

_SHARE = """\
**Of the limit** is the time that the processor needs at least, as a part of the time from files to vectors: the \
whole tower's matrix products at the rate that torch's oneDNN reaches with one of them, in that dtype and that round, \
and the entropy decoding of JPEG, which is sequential, on all cores. Graphs of CLIP leave out the last layer of all \
tokens but one, 6 % of ViT-B/32, which the limit counts. **Loading** is decoding, resizing and cropping. **The model \
alone** is timed on a batch of arrays. The cosine is the least of all photos to `torch float32 exact`, which decodes \
big JPEGs in full; the other packages, called in this way, ignore the EXIF orientation of photos. What int8 costs \
shows with trained weights only, as in [the numbers that change](../explanation/numerics.md)."""

_STARTS = """\
From the start of the process to the first vector, imports included. The cold start of onnx and openvino exports the \
graph, and that of int8 fits it to 128 images."""

_TEXTS = """\
Captions of seven to eighteen words, with CLIP's own tokenizer, in batches of 32, and one by one."""


def write_page(file: Path, results: Mapping[str, Part]) -> None:
    """Write the page in Markdown."""
    file.write_text(page(results), "utf-8")


def page(results: Mapping[str, Part]) -> str:
    """Return the page; what was not measured is left out."""
    lines = ["# Files to vectors on a CPU", ""]
    machines = {part.machine: part for part in results.values()}
    lines += [f"{machine} ({part.date})." for machine, part in machines.items()]
    lines += ["", _METHOD, "", "## Beside sentence-transformers", ""]
    lines += ["Times as fast as sentence-transformers in float32; of single calls by their median time.", ""]
    lines += _ratios(results, "")
    if any(name.endswith(AVX2) for name in results):
        lines += ["", "### Held to AVX2", "", _AVX2, "", *_ratios(results, AVX2, _ZEN_3)]
    lines += ["", "## Photos", "", _SHARE]
    for name in ("b-32", "b-16", "l-14", "so400m"):
        for suffix in ("", AVX2):
            if name + suffix in results:
                lines += _photos(results[name + suffix], held=bool(suffix))
    if "b-32" in results:
        lines += ["", "## The first vector", "", _STARTS, "", *_starts(results["b-32"])]
    for name in ("texts", f"texts{AVX2}"):
        if name in results:
            lines += ["", f"## Texts{_held(name)}", "", _TEXTS, "", *_texts(results[name])]
    for name in ("serving", f"serving{AVX2}"):
        if name in results:
            lines += ["", f"## Forty callers{_held(name)}", "", serving_table(results[name])]
    return "\n".join(lines) + "\n"


def _held(name: str) -> str:
    return ", held to AVX2" if name.endswith(AVX2) else ""


def _ratios(results: Mapping[str, Part], suffix: str, last: Mapping[str, str] | None = None) -> list[str]:
    steps = {name: names for name, names in _COLUMNS.items() if name + suffix in results}
    systems = dict.fromkeys(system for name in steps for system in results[name + suffix].systems)
    systems |= dict.fromkeys(last or ())
    header = ["system", *(column for names in steps.values() for column in names)]
    rows = []
    for system in systems:
        row = [system]
        for name, names in steps.items():
            part = results[name + suffix]
            known = system in part.systems
            row.append(f"{part.ratio(system):.2f}x" if known else "")
            if len(names) > 1:
                row.append(f"{1 / part.ratio(system, 'p50'):.2f}x" if known else "")
        rows.append([*row, last.get(system, "")] if last else row)
    return _table([*header, "ViT-B/32 on Zen 3, earlier"] if last else header, rows)


def _photos(part: Part, *, held: bool) -> list[str]:
    first = part.rounds[0][LIMITS]
    found = [dtype for dtype in ("float32", "bfloat16", "int8") if dtype in first]
    limits = ", ".join(f"{part.figure(LIMITS, dtype):.0f} in {dtype}" for dtype in found)
    rounds, entropy = len(part.rounds), part.figure(LIMITS, "entropy") * 1000
    columns = (
        "system",
        "images/s",
        "to the first",
        "one image: p50",
        "to the first",
        "p95",
        "of the limit",
        "model alone",
        "of the matrix limit",
        "loading",
        "memory",
        "cosine",
    )
    return [
        "",
        f"### {part.title}{', held to AVX2' if held else ''}",
        "",
        f"Batches of {part.batch}; rounds: {rounds}. The model needs {part.gflop:.1f} GFLOP an image; matrix products "
        f"reach {limits} GFLOP/s; entropy decoding takes {entropy:.1f} ms of a core.",
        "",
        *_table(columns, (_photos_row(part, system) for system in part.systems)),
    ]


def _photos_row(part: Part, system: str) -> Iterable[str]:
    ours = "model" in part.rounds[0][system]
    # Random weights have no outlier channels, and would hide what int8 costs.
    cosine = None if system.endswith("int8") else part.cosines.get(system)
    return (
        system,
        _digits(part.figure(system, "rate")),
        f"{part.ratio(system):.2f}x",
        f"{part.figure(system, 'p50') * 1000:.0f} ms",
        f"{part.ratio(system, 'p50'):.2f}",
        f"{part.figure(system, 'p95') * 1000:.0f} ms",
        _percent(part.share(system)),
        f"{_digits(part.figure(system, 'model'))}/s" if ours else "",
        _percent(part.model_share(system)),
        f"{part.figure(system, 'loading') * 1000:.1f} ms" if ours else "",
        f"{part.figure(system, 'memory'):.0f} MB",
        f"{cosine:.5f}" if cosine is not None else "",
    )


def _digits(value: float) -> str:
    """Return a number with at least two digits that count."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}".replace("%", " %")


def _starts(part: Part) -> list[str]:
    rows = ((system, *(_seconds(part, system, kind) for kind in ("cold", "warm"))) for system in part.systems)
    return _table(("system", "cold", "warm"), rows)


def _seconds(part: Part, system: str, kind: str) -> str:
    start = part.starts.get(system, {})
    return f"{start[kind]:.1f} s" if kind in start else ""


def _texts(part: Part) -> list[str]:
    rows = (
        (
            system,
            f"{part.figure(system, 'rate'):.0f}",
            f"{part.ratio(system):.2f}x",
            f"{part.figure(system, 'p50') * 1000:.1f} ms",
            f"{part.ratio(system, 'p50'):.2f}",
            f"{part.figure(system, 'p95') * 1000:.1f} ms",
            f"{part.figure(system, 'memory'):.0f} MB",
        )
        for system in part.systems
    )
    return _table(("system", "texts/s", "to the first", "one text: p50", "to the first", "p95", "memory"), rows)


_WAYS = (
    ("one batch", "one batch", "one call of `encode` with all"),
    ("batcher", "one batch", "forty threads, `batcher.encode`"),
    ("one by one", "one batch", "forty threads, `encoder.encode`"),
    ("sentence-transformers, one by one", "one batch", "forty threads, sentence-transformers' `encode`"),
    ("one batch, a PNG", "one batch, a PNG", "one call, with a PNG of 88 megapixels among them"),
    ("batcher, a PNG", "one batch, a PNG", "forty threads, `batcher.encode`, with that PNG"),
    ("one batch, a read", "one batch, a read", "one call, with a file that takes 3 s to read among them"),
    ("batcher, a read", "one batch, a read", "forty threads, `batcher.encode`, with that file"),
)
"""A way, what it is compared with, and what it is called."""


def serving_table(part: Part) -> str:
    """Return the table of single calls from forty threads."""
    rows = []
    for way, other, shown in _WAYS:
        rate = part.figure("serving", f"{way}: rate")
        ratio = part.ratio_within("serving", f"{way}: rate", f"{other}: rate")
        row = [shown, f"{rate:.1f}", f"{ratio:.2f}"]
        if f"{way}: p99" in part.rounds[0]["serving"]:
            p50 = part.figure("serving", f"{way}: p50") * 1000
            row += [f"{p50:.0f} ms", f"{part.ratio_within('serving', f'{way}: p99', f'{way}: p50'):.2f}"]
        else:
            row += ["", ""]
        rows.append(row)
    return "\n".join(_table(("way", "images a second", "of that one batch", "p50 of a call", "p99 to p50"), rows))


def _table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> list[str]:
    return [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
