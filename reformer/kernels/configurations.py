"""Tile sizes by GPU, chunk, head width and type: a frozen table, of which a file of measurements may replace entries.

The same inputs always meet the same configuration, in the forward pass and when it is repeated: sums are then taken in
the same order and results are equal bit for bit. So nothing is ever tuned while a model runs. `reformer.kernels.tuning`
measures on request and writes a file; `REFORMER_KERNEL_TABLE=<file>` makes this process use it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch

from reformer.kernels.launch import padded

TABLE_VARIABLE = "REFORMER_KERNEL_TABLE"
LONGEST_TILE = 128
CHUNK_TILES = (16, 32, 64, 128)
WIDTH_TILES = (16, 32, 64, 128)
WARPS = (1, 2, 4, 8, 16)
STAGES = range(1, 9)
REGISTERS = range(24, 256)
"""For a thread: with fewer the assembler does not begin, and there are no more."""

Pass = Literal["forward", "backward"]
Architecture = Literal["sm_80", "sm_90"]
Precision = Literal["half", "single"]


class Shape(NamedTuple):
    """What a configuration is chosen by.

    Attributes:
        step: Which kernel.
        architecture: `sm_90` for compute capability 9.0 and above, `sm_80` below. It keeps entries that were measured
            on one apart from those for the other; entries by the rule are the same for both.
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
    """The rule behind the table: the largest tiles whose sums fit the registers, found by compiling.

    One rule for every architecture: registers, which it goes by, are as many on all of them. What else tells them apart
    has not been measured.
    """
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
"""Untuned: every entry follows one rule, `_chosen`, found by compiling, whatever the architecture. The key names the
architecture for the sake of files of measurements, which replace entries of one only."""


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
    if path is None:
        return {}
    try:
        return read_table(Path(path))
    except ValueError as error:
        raise ValueError(f"{TABLE_VARIABLE}={path}: {error}, or unset the variable") from error


def read_table(path: Path) -> dict[Shape, Configuration]:
    """Configurations that `write_table` wrote.

    Raises:
        ValueError: The file is not there, or holds something else, or an entry that the kernels do not have.
    """
    try:
        entries = [
            (Shape(**one["shape"]), Configuration(**one["configuration"])) for one in json.loads(path.read_text())
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no table of kernel configurations ({error!r}); {_WRITE_ONE}") from error
    for number, (shape, configuration) in enumerate(entries, start=1):
        for name, value, allowed in chain(_of_shape(shape), _of_configuration(shape, configuration)):
            # `True` equals 1, and 16.0 equals 16.
            if not any(value == one and type(value) is type(one) for one in allowed):
                choice = allowed if len(allowed) <= 8 else f"{allowed[0]}..{allowed[-1]}"
                raise ValueError(f"{path}, entry {number}: {name}={value!r} is not among {choice}; {_WRITE_ONE}")
    return dict(entries)


_WRITE_ONE = "write the file with reformer.kernels.tuning.tune"

_Field = tuple[str, object, Sequence[object]]
"""Name, value, and what it may be."""


def _of_shape(shape: Shape) -> Iterator[_Field]:
    for name, value in shape._asdict().items():
        yield name, value, sorted({getattr(one, name) for one in TABLE})


def _of_configuration(shape: Shape, configuration: Configuration) -> Iterator[_Field]:
    tiles = tuple(size for size in CHUNK_TILES if size <= shape.chunk_tile)
    yield "rows", configuration.rows, tiles
    yield "columns", configuration.columns, tiles
    yield "n_warps", configuration.n_warps, WARPS
    yield "n_stages", configuration.n_stages, STAGES
    if configuration.n_registers is not None:
        yield "n_registers", configuration.n_registers, REGISTERS


def write_table(path: Path, table: dict[Shape, Configuration]) -> None:
    """Write configurations as JSON, one entry a line."""
    lines = [
        json.dumps({"shape": shape._asdict(), "configuration": configuration._asdict()})
        for shape, configuration in table.items()
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
