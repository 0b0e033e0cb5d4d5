"""The page itself: fits of every machine as JSON, a form, and the script that computes from them."""

import json
from collections.abc import Mapping, Sequence
from statistics import median_low

from markupsafe import Markup

from ablations.harness.store import MachineResults
from ablations.report.templating import script_data, templates
from ablations.report.units import BYTES, SECONDS, count, setting, three_digits
from ablations.report.what_if.fit import LEAST_CONFIGURATIONS, LEAST_FOR_QUANTILES, QUANTILES, Fit, expected_share
from ablations.report.what_if.fitted_variants import FittedVariant, fitted_variants, is_usable
from ablations.report.what_if.sizes import DERIVED, LABELS, STATE_BYTES, sizes_of
from reformer.config import Frozen, LSHAttention

LIMIT_STEPS = 8192
"""Lengths that a crossover is looked for at: so many multiples of two chunks."""
LONGEST = 2**30
"""Beyond it no length that fits is looked for, and none is taken."""
FIELDS = ("d_model", "n_heads", "d_head", "d_ff", "n_layers", "vocab_size", "batch", "length", "n_hashes", "chunk_len")
HINTS: Mapping[str, str] = {
    "d_model": "width of a residual stream",
    "n_heads": "attention heads",
    "d_head": "width of a head",
    "d_ff": "hidden width of a feed-forward half",
    "n_layers": "layers",
    "vocab_size": "tokens of the vocabulary",
    "batch": "sequences in a step",
    "length": "tokens of a sequence",
    "n_hashes": "rounds of hashing, of LSH attention",
    "chunk_len": "tokens of a chunk, of LSH and local attention",
}


class Machine(Frozen):
    """What the page knows of one machine.

    Attributes:
        name: Of it.
        gibibytes: Of memory that it has, on its accelerator if there is one; the budget that the form starts with.
        variants: Those with a fit.
        chunk_len: The one that was measured; `None` of several, and then the form asks for it.
        usual: The sizes that the form starts with, each the middle one of those measured.
    """

    name: str
    gibibytes: int
    variants: tuple[FittedVariant, ...]
    chunk_len: int | None
    usual: dict[str, int]


class Account(Frozen):
    """One row of the table of fits, in words."""

    label: str
    quantity: str
    n: str
    error: str
    interval: str
    sizes: str
    terms: str


def page(results: Sequence[MachineResults]) -> str:
    """The page as HTML that needs nothing else; without anything to fit, one that says so.

    Args:
        results: One per machine, in any order.
    """
    ordered = sorted(results, key=lambda one: one.environment.machine)
    everywhere = [machine(one) for one in ordered]
    machines = [one for one in everywhere if one.variants]
    template = templates("ablations.report").get_template("what_if.html.j2")
    return template.render(
        machines=machines,
        accounts=[(one.name, accounts(one)) for one in machines],
        without=[one.name for one in everywhere if not one.variants],
        data=embedded(machines),
        fields=FIELDS,
        hints=HINTS,
        n_least=LEAST_CONFIGURATIONS,
        n_quantiles=LEAST_FOR_QUANTILES,
        quantiles=" and ".join(f"{100 * one:g} %" for one in QUANTILES),
        share_of_eight=f"{100 * expected_share(8):.0f} %",
    )


def machine(results: MachineResults) -> Machine:
    """The fits of one machine's records."""
    here = results.environment
    sizes = [sizes_of(record.cell) for record in results.records if is_usable(record)]
    chunks = {one["chunk_len"] for one in sizes if "chunk_len" in one} or {LSHAttention().chunk_len}
    measured = {name: [one[name] for one in sizes if name in one] for name in FIELDS}
    defaults = {"n_hashes": LSHAttention().n_hashes, "chunk_len": min(chunks)}
    return Machine(
        name=here.machine,
        gibibytes=(here.accelerator_memory_bytes or here.memory_bytes) // 2**30 or 1,
        variants=fitted_variants(results.records),
        chunk_len=min(chunks) if len(chunks) == 1 else None,
        usual=defaults | {name: median_low(values) for name, values in measured.items() if values},
    )


def embedded(machines: Sequence[Machine]) -> Markup:
    """What the script reads, as JSON that no text in it can end the element of."""
    content = {
        "machines": [_machine_data(one) for one in machines],
        "derived": {name: bound.model_dump(mode="json") for name, bound in DERIVED.items()},
        "state": [one.model_dump(mode="json") for one in STATE_BYTES],
        "labels": dict(LABELS),
        "units": {"bytes": BYTES.scales, "seconds": SECONDS.scales},
        "limit_steps": LIMIT_STEPS,
        "longest": LONGEST,
    }
    return script_data(json.dumps(content, allow_nan=False, separators=(",", ":")))


def _machine_data(one: Machine) -> dict[str, object]:
    return {
        "name": one.name,
        "chunk_len": one.chunk_len,
        "usual": {**one.usual, "budget": one.gibibytes},
        "variants": [_variant_data(fitted) for fitted in one.variants],
    }


def _variant_data(one: FittedVariant) -> dict[str, object]:
    return {
        "label": one.label,
        "variant": one.variant,
        "constants": one.constants,
        "memory": _fit_data(one.memory, one.memory_missing),
        "time": _fit_data(one.time, one.time_missing),
    }


def _fit_data(fit: Fit | None, missing: str | None) -> dict[str, object]:
    if fit is None:
        return {"missing": missing}
    return {
        "polynomial": [one.model_dump(mode="json") for one in fit.polynomial],
        "bounds": fit.bounds.model_dump() if fit.bounds else None,
        "no_interval": fit.no_interval,
        "ranges": fit.ranges,
    }


def accounts(one: Machine) -> tuple[Account, ...]:
    """What each fit of a machine goes through and is made of."""
    fits = [
        (fitted.label, quantity, fit)
        for fitted in one.variants
        for quantity, fit in (("peak", fitted.memory), ("time", fitted.time))
    ]
    return tuple(_account(label, quantity, fit) for label, quantity, fit in fits if fit)


def _account(label: str, quantity: str, fit: Fit) -> Account:
    bounds = fit.bounds
    ends = f"{three_digits(bounds.low)} to {three_digits(bounds.high)} times" if bounds else None
    return Account(
        label=label,
        quantity=quantity,
        n=count(fit.n_configurations, "configuration"),
        error=f"{three_digits(100 * fit.worst)} %",
        interval=f"{ends}: {bounds.kind}" if bounds else fit.no_interval or "none",
        sizes=", ".join(_range(LABELS[name], *ends) for name, ends in fit.ranges.items()),
        terms=" + ".join(f"{term.price:.3g} x {term.feature.name}" for term in fit.terms),
    )


def _range(label: str, low: int, high: int) -> str:
    return f"{label} {setting(low)}" if low == high else f"{label} {setting(low)} to {setting(high)}"
