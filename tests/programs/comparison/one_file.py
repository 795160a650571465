"""One system and one file in a process of its own, which prints as JSON what happened.

python -m tests.programs.comparison.one_file SYSTEM CHECKPOINT FILE SEEN
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from tests.programs.benchmarks.worker import peak_megabytes
from tests.programs.comparison.packages import SYSTEMS

GIBIBYTES = 8
SECONDS = 300
"""Of the processor, so that other work on the machine does not count."""


def main() -> None:
    """Encode what a person sees, then the file, and compare."""
    name, checkpoint, file, seen = sys.argv[1], *map(Path, sys.argv[2:5])
    resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTES << 30, GIBIBYTES << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    encode = SYSTEMS[name](checkpoint)
    expected = encode(seen)
    before = peak_megabytes()
    outcome: dict[str, object] = {}
    try:
        outcome["cosine"] = float(encode(file) @ expected)
    except Exception as error:  # noqa: BLE001  # which one is what is asked for
        outcome["error"] = type(error).__name__
        outcome["named"] = file.name in str(error)
    outcome["megabytes"] = peak_megabytes() - before
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
