"""Compiles kernels for GPUs that are not there, and reads what the assembler says of them.

A script of its own, `python -m tests.kernels.compiling <cases as JSON>`: a process in which kernels are interpreted
cannot compile them. Prints a list of reports as JSON.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from reformer.kernels import backward_kernels, forward_kernels, hash_kernels, row_kernels, sort_kernels
from reformer.kernels.configurations import TABLE, Shape
from reformer.kernels.lsh import tiles

POINTERS = {"half": "*bf16", "single": "*fp32"}
MEANING: dict[str, Any] = {"CAUSAL": True, "WRAP": "across_rounds", "SAME_BUCKET_ONLY": False, "DEDUPLICATE": False}
BYTES_OF_TYPE = {"VALID": "*u8", "BUCKET": "*i16", "POSITION": "*i32", "CHUNK": "*i32", "ORDER": "*i32"}
INTEGERS = {"COUNT": "*i32", "TOTAL": "*i32", "PLACED": "*i32"}
FLOATS = {"UNIT": "*fp32", "DELTA": "*fp32", "LSE": "*fp32", "LSES": "*fp32", "score_scale": "fp32"}
COUNTS = {*forward_kernels.COUNTS, "n_directions", "half", "weight", "padding", "shift"}


def compiled(
    kernel: Any,  # noqa: ANN401  (Triton is not typed)
    constants: dict[str, Any],
    precision: str,
    capability: int,
    options: dict[str, int],
) -> dict[str, Any]:
    """Registers, spilled bytes, shared memory and what instructions there are of one kernel."""
    names = kernel.arg_names
    types = BYTES_OF_TYPE | INTEGERS | FLOATS

    def type_of(name: str) -> str:
        if name in constants:
            return "constexpr"
        return types.get(name) or (POINTERS[precision] if name.isupper() else "i32")

    signature = {name: type_of(name) for name in names}
    aligned = [
        name for name in names if signature[name].startswith("*") or (signature[name] == "i32" and name not in COUNTS)
    ]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {"shared": binary.metadata.shared, **_assembled(binary.asm["ptx"], capability)}


def _assembled(ptx: str, capability: int) -> dict[str, Any]:
    # The newer of the two bundled assemblers knows every version of the language that Triton writes.
    folder = Path(triton.__file__).parent / "backends/nvidia/bin"
    assembler = next(str(path) for name in ("ptxas-blackwell", "ptxas") if (path := folder / name).exists())
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        architecture = f"sm_{capability}{'a' if capability >= 90 else ''}"
        command = [assembler, "-v", f"-arch={architecture}", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = {"registers": r"Used (\d+) registers", "spilled": r"(\d+) bytes spill stores"}
    figures = {name: int(match[1]) for name, pattern in found.items() if (match := re.search(pattern, said))}
    return figures | {
        "matrix_products": len(re.findall(r"wgmma\.mma_async|mma\.sync", ptx)),
        "asynchronous_copies": ptx.count("cp.async.c"),
        "atomics": sorted(set(re.findall(r"\b(?:atom|red)\.[\w.:]+", ptx))),
    }


def chunk_kernel(case: dict[str, Any]) -> dict[str, Any]:
    """One entry of the table."""
    shape = Shape(**case["shape"])
    configuration = TABLE[shape]._replace(**case.get("changes", {}))
    kernel = {"forward": forward_kernels.attend_kernel, "backward": backward_kernels.attend_backward_kernel}[shape.step]
    meaning = MEANING | case.get("meaning", {})
    sizes = tiles(configuration, shape.chunk_tile, deduplicate=meaning["DEDUPLICATE"])
    options = {name: sizes.pop(name) for name in ("num_warps", "num_stages", "maxnreg")} | case.get("options", {})
    constants: dict[str, Any] = {
        **sizes,
        **meaning,
        "K": case.get("d_head", shape.width_tile),
        "WIDTH": shape.width_tile,
        "PRECISION": "tf32x3" if shape.precision == "single" else "tf32",
        "UPCAST": False,
    }
    absent = {
        "VALID": not case.get("padding"),
        "BUCKET": not meaning["SAME_BUCKET_ONLY"],
        "CHUNK": not meaning["DEDUPLICATE"],
    }
    constants |= {name: None for name, missing in absent.items() if missing}
    return compiled(kernel, constants, shape.precision, int(shape.architecture[3:]), options)


def other_kernel(case: dict[str, Any]) -> dict[str, Any]:
    """A kernel that has no entry in the table."""
    modules = (hash_kernels, row_kernels, sort_kernels)
    kernel = next(getattr(module, case["kernel"]) for module in modules if hasattr(module, case["kernel"]))
    options = {"num_warps": case.get("n_warps", 4), "num_stages": case.get("n_stages", 3)}
    return compiled(kernel, case["constants"], case["precision"], case["capability"], options)


def main() -> None:
    """Compile what standard input asks for."""
    reports = [(chunk_kernel if "shape" in case else other_kernel)(case) for case in json.load(sys.stdin)]
    json.dump(reports, sys.stdout)


if __name__ == "__main__":
    main()
