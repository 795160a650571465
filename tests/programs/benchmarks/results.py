"""What was measured: a file of JSON with the rounds of each step, and what they come to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

__all__ = ["LIMITS", "Part", "Results", "Round"]

Figures: TypeAlias = dict[str, float]
Round: TypeAlias = dict[str, Figures]

LIMITS = "limits"
"""Beside the systems, a round has what the processor allowed then."""


@dataclass(kw_only=True)
class Part:
    """The result of one step.

    Attributes:
        title: What the page calls it.
        machine: Processor and versions.
        date: Of the last round.
        cores: That the machine has.
        gflop: Of one image.
        batch: Inputs in a batch.
        rounds: Figures of each round, by system.
        starts: Seconds to the first vector, cold and warm, by system.
        cosines: Least cosine to the exact vectors, by system.
    """

    title: str
    machine: str
    date: str
    cores: int
    gflop: float
    batch: int
    rounds: list[Round] = field(default_factory=list)
    starts: Round = field(default_factory=dict)
    cosines: Figures = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """Names of the systems, the first of which the others are compared with."""
        return [name for name in self.rounds[0] if name != LIMITS]

    def figure(self, system: str, name: str) -> float:
        """Return the median of a figure over the rounds."""
        return statistics.median(each[system][name] for each in self.rounds)

    def ratio(self, system: str, name: str = "rate") -> float:
        """Return the median over the rounds of a figure's ratio to the first system's in that round."""
        first = self.systems[0]
        return statistics.median(each[system][name] / each[first][name] for each in self.rounds)

    def ratio_within(self, system: str, name: str, other: str) -> float:
        """Return the median over the rounds of a figure's ratio to another one of the system."""
        return statistics.median(each[system][name] / each[system][other] for each in self.rounds)

    def share(self, system: str) -> float | None:
        """Return what part of the time end to end the limits take: matrix products, and the cores' entropy decoding."""
        return self._median(
            each[system]["rate"] * (self.gflop / limit + each[LIMITS]["entropy"] / self.cores)
            for each, limit in self._limits(system)
        )

    def model_share(self, system: str) -> float | None:
        """Return what part of the matrix products' limit the model reaches when it runs alone."""
        if "model" not in self.rounds[0][system]:
            return None
        return self._median(each[system]["model"] * self.gflop / limit for each, limit in self._limits(system))

    def _limits(self, system: str) -> Iterable[tuple[Round, float]]:
        dtype = system.split()[1]
        return ((each, each[LIMITS][dtype]) for each in self.rounds if dtype in each[LIMITS])

    def _median(self, values: Iterable[float]) -> float | None:
        found = list(values)
        return statistics.median(found) if found else None


class Results(dict[str, Part]):
    """Parts by the names of their steps.

    Args:
        file: Where they are kept; it need not exist yet.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        if file.exists():
            kept: Mapping[str, dict[str, object]] = json.loads(file.read_text("utf-8"))
            self.update({name: Part(**part) for name, part in kept.items()})  # type: ignore[arg-type]

    def save(self) -> None:
        """Write the file anew."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        parts = {name: _rounded(asdict(part)) for name, part in self.items()}
        self.file.write_text(json.dumps(parts, indent=1) + "\n", "utf-8")


def _rounded(value: object) -> object:
    """Return a value with six digits where it has more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
