"""Libraries that can't be told to leave AVX-512 alone, patched so that they don't see it: Linux on x86-64.

torch, oneDNN, MKL and OpenBLAS have variables. ONNX Runtime has none, and OpenVINO's own kernels none in its releases:
both ask the processor by the instruction CPUID. In copies of these packages it is replaced by bytes that no processor
knows, and a handler of the signal that follows answers in its place (`cpuid.c`). Needs gcc and objdump.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

__all__ = ["hold_to_avx2"]

_VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
_PACKAGES = ("onnxruntime", "openvino")
_CPUID, _UNKNOWN = b"\x0f\xa2", b"\x06\xa2"
_HANDLER = Path(__file__).with_name("cpuid.c")


def hold_to_avx2(folder: Path) -> dict[str, str]:
    """Return the variables of a process whose libraries see a processor with AVX2 and no AVX-512.

    Args:
        folder: Where the patched copies are made, unless they are there already.
    """
    handler = folder / "cpuid.so"
    if not handler.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for package in _PACKAGES:
            _copy(package, folder / package)
        # Last, since it says that all is there.
        subprocess.run([_found("gcc"), "-shared", "-fPIC", "-O1", "-o", handler, _HANDLER], check=True)
    return {**_VARIABLES, "PYTHONPATH": str(folder), "LD_PRELOAD": str(handler)}


def _copy(package: str, folder: Path) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(Path(spec.origin).parent, folder)
    for library in folder.rglob("*.so*"):
        places = _places(library)
        content = bytearray(library.read_bytes())
        for place in places:
            assert content[place : place + 2] == _CPUID
            content[place : place + 2] = _UNKNOWN
        if places:
            library.write_bytes(content)


def _places(library: Path) -> list[int]:
    """Return where in a library's file the instruction is."""
    # Of a line of objdump -d -F only the heads of functions have offsets: sections tell how far addresses are off.
    shown = _objdump("-h", library)
    sections = [
        (int(address, 16), int(size, 16), int(offset, 16))
        for size, address, offset in re.findall(r"^ *\d+ \S+ +(\w{8}) +(\w{16}) +\w{16} +(\w{8}) ", shown, re.MULTILINE)
    ]
    found = re.findall(r"^ *(\w+):\tcpuid", _objdump("-d", "--no-show-raw-insn", library), re.MULTILINE)
    return [
        at - address + offset
        for at in (int(each, 16) for each in found)
        for address, size, offset in sections
        if address and address <= at < address + size
    ]


def _objdump(*arguments: str | Path) -> str:
    return subprocess.run([_found("objdump"), *arguments], capture_output=True, text=True, check=True).stdout


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SystemExit(
            f"Holding libraries to AVX2 needs {program}: install it, or leave out the steps that end in -avx2."
        )
    return path
