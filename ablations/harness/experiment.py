"""An experiment: a question and a grid. It expands to cells."""

import itertools
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self, cast, get_args

from pydantic import Field, ValidationError

from ablations.harness.cell import Capacity, Cell, Device, Scope, Workload
from ablations.harness.errors import UserError
from ablations.harness.estimate import estimate
from ablations.harness.search import Search, at_length
from reformer.config import (
    CONTROLS,
    VARIANTS,
    AnyAttention,
    Count,
    Frozen,
    LSHAttention,
    Pattern,
    ReformerConfig,
    Residual,
)

ATTENTION_AXES = ("backend", "chunk_len", "n_buckets", "n_hashes")
CELL_AXES = ("dtype", "implementation")
AXES = ("seed", "batch", "dtype", "n_layers", "length", *ATTENTION_AXES, "variant", "implementation")
"""Everything that a grid may vary. All but the attention's, `dtype` and `implementation` are required."""

LONGEST_VALUES = 1000
"""Characters of an axis' values; a number of more digits than that is a slip."""

UNITS: Mapping[str, int] = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
"""Of a memory budget, in bytes."""

Profile = Literal["smoke", "cpu", "gpu", "paper-cpu", "paper"]
"""`smoke` checks that all runs, `cpu` and `gpu` measure the ablations; `paper-cpu` and `paper` measure what the paper
claims, as far as two cores come within an hour, and at the paper's sizes on one GPU."""

Point = Mapping[str, Any]
"""One value per axis."""


class Grid(Frozen):
    """Some workloads at every point of some axes.

    Attributes:
        workloads: What is done at every point.
        axes: Values per axis; the required axes must be there, if only with one value each.
        scope: What takes the steps.
        model: Fields of `ReformerConfig` in which this grid differs from its scale's.
    """

    workloads: tuple[Workload, ...]
    axes: dict[str, tuple[int | str, ...]]
    scope: Scope = "model"
    model: dict[str, Any] = Field(default_factory=dict)


class LengthSearch(Frozen):
    """A search for the longest sequence that trains, at every point of some axes.

    Attributes:
        workloads: One for each memory budget.
        axes: As in `Grid`, `chunk_len` among them; of several values of `length` the search starts from the smallest.
        most: The longest to try.
        seconds: Lengths double only as long as a probe takes no more than this, by estimate.
    """

    workloads: tuple[Capacity, ...]
    axes: dict[str, tuple[int | str, ...]]
    most: Count
    seconds: Annotated[float, Field(gt=0)]

    def with_budget(self, budget_bytes: int) -> Self:
        """The same with this one budget."""
        workloads = (one.model_copy(update={"budget_bytes": budget_bytes}) for one in self.workloads)
        return self.model_copy(update={"workloads": tuple(dict.fromkeys(workloads))})


class Scale(Frozen):
    """One size of an experiment: fields of `ReformerConfig` that no axis sets, grids, and searches."""

    model: dict[str, Any]
    grids: tuple[Grid, ...] = ()
    searches: tuple[LengthSearch, ...] = ()

    def with_axis(self, name: str, values: tuple[int | str, ...]) -> Self:
        """The same with other values on one axis of every grid and search."""
        grids = tuple(grid.model_copy(update={"axes": grid.axes | {name: values}}) for grid in self.grids)
        searches = tuple(one.model_copy(update={"axes": one.axes | {name: values}}) for one in self.searches)
        return self.model_copy(update={"grids": grids, "searches": searches})

    def with_budget(self, budget_bytes: int) -> Self:
        """The same with this one memory budget in every search."""
        return self.model_copy(update={"searches": tuple(one.with_budget(budget_bytes) for one in self.searches)})


class Experiment(Frozen):
    """A question put to the models, and the grids and searches that answer it on small and large machines."""

    name: str
    title: str
    question: str
    scales: dict[Profile, Scale]

    def with_axis(self, name: str, values: tuple[int | str, ...]) -> Self:
        """The same question over other values of one axis, at every scale."""
        scales = {profile: scale.with_axis(name, values) for profile, scale in self.scales.items()}
        return self.model_copy(update={"scales": scales})

    def with_budget(self, budget_bytes: int) -> Self:
        """The same question within another memory budget, at every scale."""
        scales = {profile: scale.with_budget(budget_bytes) for profile, scale in self.scales.items()}
        return self.model_copy(update={"scales": scales})

    def cells(self, profile: Profile, device: Device) -> tuple[Cell, ...]:
        """Every cell of the grids once, in the order in which cells are worth measuring.

        Seeds are outermost, then short lengths come before long ones. A seed is a round. Within it all that is
        compared with one another is neighbours, each time in another order, see `_in_turn`.

        An axis that a variant does not have (a dense model has no hash rounds, a peer none of our backends) leaves that
        variant's cells as they are, so that they appear once and not once per value.

        Raises:
            UserError: A point of the grid is not a model that can exist; names axis values and remedy.
        """
        scale = self.scales[profile]
        cells = [
            self._cell(scale.model | grid.model, point, workload, device, grid.scope)
            for grid in scale.grids
            for point in _points(grid.axes)
            for workload in grid.workloads
        ]
        return tuple(_in_turn(dict.fromkeys(sorted(cells, key=lambda cell: _comparison(cell)[:4]))))

    def searches(self, profile: Profile, device: Device) -> tuple[Search, ...]:
        """Every search once: an axis that a variant does not have multiplies none, as with cells.

        Raises:
            UserError: As in `cells`, or a search would start from a length that is no multiple of its granule.
        """
        scale = self.scales[profile]
        searches = (
            self._search(scale, wanted, point, workload, device)
            for wanted in scale.searches
            for point in _points(wanted.axes | {"length": (_smallest(wanted.axes["length"]),)})
            for workload in wanted.workloads
        )
        return tuple(dict.fromkeys(searches))

    def _search(self, scale: Scale, wanted: LengthSearch, point: Point, workload: Capacity, device: Device) -> Search:
        first = self._cell(scale.model, point, workload, device, "model")
        attention = _with_axes(named_variant(str(point["variant"])).attention, point)
        most, most_reason = _longest_to_try(first, attention, wanted)
        try:
            return Search(
                cell=first,
                attention=attention,
                granule=2 * point["chunk_len"],
                most=most,
                most_reason=most_reason,
            )
        except ValidationError as error:
            raise UserError(f"{self.name} cannot search at {_where(point)}. {_reasons(error)}") from None

    def _cell(self, model: Mapping[str, Any], point: Point, workload: Workload, device: Device, scope: Scope) -> Cell:
        try:
            return Cell(
                experiment=self.name,
                config=_config(model, point),
                workload=workload,
                batch=point["batch"],
                length=point["length"],
                device=device,
                seed=point["seed"],
                scope=scope,
                **{axis: point[axis] for axis in CELL_AXES if axis in point},
            )
        except ValidationError as error:
            raise UserError(f"{self.name} cannot have a cell at {_where(point)}. {_reasons(error)}") from None


def _where(point: Point) -> str:
    return ", ".join(f"{axis}={value}" for axis, value in point.items())


def _smallest(lengths: tuple[int | str, ...]) -> int | str:
    """What is no number is left for the config to refuse."""
    numbers = [length for length in lengths if isinstance(length, int)]
    return min(numbers) if len(numbers) == len(lengths) else lengths[0]


def _longest_to_try(first: Cell, attention: Pattern, wanted: LengthSearch) -> tuple[int, str]:
    """A power of two times the first length, and why none beyond it; the first itself, however long it takes."""
    length = first.length
    while 2 * length <= wanted.most:
        seconds = estimate(at_length(first, attention, 2 * length)).seconds
        if seconds > wanted.seconds:
            return length, f"twice as long would take {seconds:.0f} s by estimate, more than {wanted.seconds:g} s"
        length *= 2
    return length, f"the experiment tries none beyond {wanted.most:,}"


class _Comparison(NamedTuple):
    """What cells have in common that a report sets beside each other; the first four in the order of a run."""

    seed: int
    length: int
    n_layers: int
    dtype: str
    batch: int
    scope: Scope
    workload: str
    mode: str


def _comparison(cell: Cell) -> _Comparison:
    return _Comparison(
        cell.seed,
        cell.length,
        cell.config.n_layers,
        cell.dtype,
        cell.batch,
        cell.scope,
        cell.workload.kind,
        cell.mode,
    )


def _in_turn(cells: Iterable[Cell]) -> Iterator[Cell]:
    """The same cells, those of one comparison side by side, comparisons in the order of their first cells."""
    compared: dict[_Comparison, list[Cell]] = {}
    for cell in cells:
        compared.setdefault(_comparison(cell), []).append(cell)
    for comparison, contenders in compared.items():
        yield from _drawn(contenders, comparison)


def _drawn(contenders: Iterable[Cell], comparison: _Comparison) -> list[Cell]:
    """The contenders of one comparison in the order of their round.

    Those of equal hash rounds stand together, and what has none in the midst of them: it is compared with each. Within,
    the order is drawn for every other round, and reversed in the round after it: what drifts while they run, as a
    processor that grows warm, then favours nobody.
    """
    blocks: dict[int, list[Cell]] = {}
    for cell in sorted(contenders, key=lambda cell: _lot(cell, comparison)):
        blocks.setdefault(_hash_rounds(cell), []).append(cell)
    without = blocks.pop(0, [])
    hashing = [blocks[n_hashes] for n_hashes in sorted(blocks)]
    half = (len(hashing) + 1) // 2
    order = [cell for block in (*hashing[:half], without, *hashing[half:]) for cell in block]
    return order[::-1] if comparison.seed % 2 else order


def _lot(cell: Cell, comparison: _Comparison) -> float:
    """The contender's own, whoever else runs: the same in a round of even seed and in the one after it."""
    pair = comparison._replace(seed=comparison.seed // 2)
    return random.Random(f"{cell.contender} {_hash_rounds(cell)} {tuple(pair)}").random()


def _hash_rounds(cell: Cell) -> int:
    return max((one.n_hashes for one in cell.config.attentions if isinstance(one, LSHAttention)), default=0)


def _reasons(error: ValidationError) -> str:
    reasons = [
        f"{'.'.join(map(str, one['loc'])) or 'model'}={one['input']!r}: {one['msg'].removeprefix('Value error, ')}."
        if one["loc"]
        else one["msg"].removeprefix("Value error, ") + "."
        for one in error.errors()
    ]
    return " ".join(reasons)


def _points(axes: Mapping[str, tuple[int | str, ...]]) -> Iterator[Point]:
    names = [axis for axis in AXES if axis in axes]
    for values in itertools.product(*(axes[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _config(model: Mapping[str, Any], point: Point) -> ReformerConfig:
    variant = named_variant(str(point["variant"]))
    return ReformerConfig(
        **model,
        n_layers=point["n_layers"],
        max_len=point["length"],
        attention=_with_axes(variant.attention, point),
        residual=variant.residual,
    )


def _with_axes(pattern: Pattern, point: Point) -> Pattern:
    if isinstance(pattern, tuple):
        return tuple(_one_with_axes(attention, point) for attention in pattern)
    return _one_with_axes(pattern, point)


def _one_with_axes(attention: AnyAttention, point: Point) -> AnyAttention:
    theirs = {"backend"} if point.get("implementation", "ours") != "ours" else set()
    known = type(attention).model_fields.keys() - theirs
    own = {axis: point[axis] for axis in ATTENTION_AXES if axis in point and axis in known}
    return type(attention)(**(attention.model_dump() | own))


class Switches(NamedTuple):
    """What a variant's name stands for; several attentions are cycled over the layers."""

    attention: Pattern
    residual: Residual


def named_variant(name: str) -> Switches:
    """The corner or control of that name; of several names, joined by "+", layers in that turn.

    Raises:
        UserError: There is none, or the layers would be chained in different ways.
    """
    known = {**VARIANTS, **CONTROLS}
    for one in name.split("+"):
        if one not in known:
            raise UserError(f"There is no variant {one!r}; known are {', '.join(known)}.")
    parts = [known[one] for one in name.split("+")]
    residuals = list(dict.fromkeys(part.residual for part in parts))
    if len(residuals) > 1:
        raise UserError(f"Variant {name!r} chains its layers in different ways, {', '.join(residuals)}; join one kind.")
    attentions = tuple(part.attention for part in parts)
    return Switches(attentions if len(attentions) > 1 else attentions[0], residuals[0])


def parse_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        UserError: There is none.
    """
    for profile in get_args(Profile):
        if profile == name:
            return cast(Profile, profile)
    raise UserError(f"There is no profile {name!r}; known are {', '.join(get_args(Profile))}.")


def parse_axis(text: str) -> tuple[str, tuple[int | str, ...]]:
    """Name and values of an axis given as `NAME=VALUE,VALUE`.

    Raises:
        UserError: It has another form, or there is no axis of that name.
    """
    name, equals, values = text.partition("=")
    if not equals or not all(values.split(",")) or len(values) > LONGEST_VALUES:
        raise UserError(f"An axis is given as NAME=VALUE,VALUE and not as {text!r}; for example length=512,1024.")
    if name not in AXES:
        raise UserError(f"There is no axis {name!r}; known are {', '.join(AXES)}.")
    return name, tuple(int(value) if re.fullmatch("-?[0-9]+", value) else value for value in values.split(","))


def parse_axes(texts: Sequence[str]) -> dict[str, tuple[int | str, ...]]:
    """Several axes, each as `parse_axis` reads it.

    Raises:
        UserError: One is wrong, or given twice.
    """
    axes: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        name, values = parse_axis(text)
        if name in axes:
            raise UserError(f"Axis {name} is given twice; give all its values at once, as {name}=VALUE,VALUE.")
        axes[name] = values
    return axes


def parse_budget(text: str) -> int:
    """Bytes of a memory budget given as `16GiB`, `900MiB` or `1.5GiB`.

    Raises:
        UserError: It has another form, or is nothing.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(KiB|MiB|GiB|TiB)", text)
    budget = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not budget:
        raise UserError(
            f"A memory budget is given in {', '.join(UNITS)}, as --memory-budget 16GiB or 900MiB, and not as {text!r}."
        )
    return budget
