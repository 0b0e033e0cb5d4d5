"""Tile sizes by GPU, chunk, head width and type: a frozen table, of which a file of measurements may replace entries.

The same inputs always meet the same configuration, in the forward pass and when it is repeated: sums are then taken in
the same order and results are equal bit for bit. So nothing is ever tuned while a model runs. `reformer.kernels.tuning`
measures on request and writes a file; `REFORMER_KERNEL_TABLE=<file>` makes this process use it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch

from reformer.kernels.launch import padded

TABLE_VARIABLE = "REFORMER_KERNEL_TABLE"
LONGEST_TILE = 128
CHUNK_TILES = (16, 32, 64, 128)
WIDTH_TILES = (16, 32, 64, 128)

Pass = Literal["forward", "backward"]
Architecture = Literal["sm_80", "sm_90"]
Precision = Literal["half", "single"]


class Shape(NamedTuple):
    """What a configuration is chosen by.

    Attributes:
        step: Which kernel.
        architecture: `sm_90` for compute capability 9.0 and above, `sm_80` below.
        chunk_tile: The chunk length rounded up to a power of two, 128 at most.
        width_tile: The head width rounded up to a power of two.
        precision: `single` for float32.
    """

    step: Pass
    architecture: Architecture
    chunk_tile: int
    width_tile: int
    precision: Precision


class Configuration(NamedTuple):
    """How a kernel is cut and compiled.

    Attributes:
        rows: Positions whose result one program computes.
        columns: Positions that pass by at a time.
        n_warps: Warps in a program.
        n_stages: Tiles under way at a time.
        n_registers: At most so many for a thread; `None` for as many as there are.
    """

    rows: int
    columns: int
    n_warps: int
    n_stages: int
    n_registers: int | None = None


def _chosen(shape: Shape) -> Configuration:
    """The rule behind the table: the largest tiles whose sums fit the registers, found by compiling."""
    chunk, wide = shape.chunk_tile, shape.width_tile > 64
    match shape.step, shape.precision:
        case "forward", "half":
            # With 168 registers three programs run at a time in place of two.
            return Configuration(min(chunk, 64), min(chunk, 64), 4, 2, None if wide else 168)
        case "forward", _:
            return Configuration(min(chunk, 32 if wide else 64), min(chunk, 32), 4, 2)
        case _, "half":
            return Configuration(min(chunk, 64), min(chunk, 32), 8 if wide and chunk >= 64 else 4, 2)
        case _:
            return Configuration(16 if wide else min(chunk, 32), 16, 4, 2)


TABLE: MappingProxyType[Shape, Configuration] = MappingProxyType(
    {
        shape: _chosen(shape)
        for step in ("forward", "backward")
        for architecture in ("sm_80", "sm_90")
        for chunk_tile in CHUNK_TILES
        for width_tile in WIDTH_TILES
        for precision in ("half", "single")
        for shape in [Shape(step, architecture, chunk_tile, width_tile, precision)]
    }
)
"""Found by compiling, not by measuring: no spills first, then the largest tiles."""


def shape_of(step: Pass, *, device: torch.device, chunk_len: int, d_head: int, dtype: torch.dtype) -> Shape:
    """The key of a call in the table."""
    newer = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)
    return Shape(
        step,
        "sm_90" if newer else "sm_80",
        min(padded(chunk_len), LONGEST_TILE),
        padded(d_head),
        "single" if dtype == torch.float32 else "half",
    )


def configuration_for(shape: Shape) -> Configuration:
    """The configuration from the file that `REFORMER_KERNEL_TABLE` names, else from the table.

    The file is read once in a process, at the first call.

    Raises:
        ValueError: The variable is set and the file cannot be used.
    """
    return (_measured() | _TRIED).get(shape, TABLE[shape])


@contextmanager
def instead(tried: dict[Shape, Configuration]) -> Iterator[None]:
    """Other configurations for a while, so that they can be measured."""
    _TRIED.update(tried)
    try:
        yield
    finally:
        _TRIED.clear()


_TRIED: dict[Shape, Configuration] = {}


@cache
def _measured() -> dict[Shape, Configuration]:
    path = os.environ.get(TABLE_VARIABLE)
    return {} if path is None else read_table(Path(path))


def read_table(path: Path) -> dict[Shape, Configuration]:
    """Configurations that `write_table` wrote.

    Raises:
        ValueError: The file is not there or holds something else.
    """
    try:
        entries = [
            (Shape(**one["shape"]), Configuration(**one["configuration"])) for one in json.loads(path.read_text())
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{TABLE_VARIABLE}={path} is no table of kernel configurations ({error}); write one with "
            "reformer.kernels.tuning.tune, or unset the variable"
        ) from error
    for shape, configuration in entries:
        if shape not in TABLE or not _is_possible(configuration):
            raise ValueError(
                f"{TABLE_VARIABLE}={path}: {shape} with {configuration} is not an entry that the kernels have; "
                "write the file with reformer.kernels.tuning.tune, or unset the variable"
            )
    return dict(entries)


def _is_possible(configuration: Configuration) -> bool:
    *sizes, n_registers = configuration
    numbers: list[object] = [*sizes, 1 if n_registers is None else n_registers]
    return all(type(number) is int and number > 0 for number in numbers)


def write_table(path: Path, table: dict[Shape, Configuration]) -> None:
    """Write configurations as JSON, one entry a line."""
    lines = [
        json.dumps({"shape": shape._asdict(), "configuration": configuration._asdict()})
        for shape, configuration in table.items()
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
