"""The sizes that the page's form asks for, and arithmetic on them that Python and the page do from the same table."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from ablations.harness.cell import Cell
from ablations.harness.ledger import ADAM_STATE
from ablations.harness.ledger_attention import ROWS, SCORES
from ablations.harness.ledger_sizes import FLOAT
from reformer.config import Frozen, LocalAttention, LSHAttention, QueryChunkedAttention

Sizes = Mapping[str, int]
"""A count for each name. `updates` is 1 of a step that ends with the optimiser's, else 0; `projections`: of a layer."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "d_model": "d_model",
        "n_heads": "n_heads",
        "d_head": "d_head",
        "d_ff": "d_ff",
        "n_layers": "n_layers",
        "vocab_size": "vocab_size",
        "batch": "batch",
        "length": "length",
        "n_hashes": "n_hashes",
        "chunk_len": "chunk_len",
        "updates": "optimiser steps",
    }
)
"""What the page calls each size of which a range was measured."""


class Monomial(Frozen):
    """A number times some sizes; one named twice is squared."""

    coefficient: float
    factors: tuple[str, ...] = ()


Polynomial = tuple[Monomial, ...]


def monomial(coefficient: float, factors: str = "") -> Monomial:
    """So many times the product of the sizes that are named, with spaces between them."""
    return Monomial(coefficient=coefficient, factors=tuple(factors.split()))


class Bound(Frozen):
    """A size that follows from others: the least or the most of some products."""

    of: Literal["min", "max"]
    amounts: Polynomial


DERIVED: Mapping[str, Bound] = MappingProxyType(
    {
        "loss_positions": Bound(of="min", amounts=(monomial(1, "length"), monomial(1, "loss_chunk_len"))),
        # Of LSH attention: heads whose slots are few are taken together. See `ledger_attention`.
        "few_slots": Bound(of="min", amounts=(monomial(ROWS), monomial(1, "batch n_heads n_hashes length"))),
        "slots": Bound(of="max", amounts=(monomial(1, "n_hashes length"), monomial(1, "few_slots"))),
        "block_scores": Bound(of="min", amounts=(monomial(SCORES), monomial(2, "slots chunk_len"))),
    }
)
"""Sizes that no form asks for and no cell states."""


def value(polynomial: Polynomial, sizes: Sizes) -> float:
    """The sum of all monomials."""
    return sum(one.coefficient * math.prod(_size(name, sizes) for name in one.factors) for one in polynomial)


def _size(name: str, sizes: Sizes) -> float:
    if name in sizes:
        return float(sizes[name])
    bound = DERIVED[name]
    return {"min": min, "max": max}[bound.of](value((one,), sizes) for one in bound.amounts)


def times(polynomial: Polynomial, coefficient: float, factors: str = "") -> Polynomial:
    """Every monomial so many times, and times the sizes named."""
    more = tuple(factors.split())
    return tuple(
        Monomial(coefficient=coefficient * one.coefficient, factors=(*more, *one.factors)) for one in polynomial
    )


LAYER_WEIGHTS: Polynomial = (
    monomial(1, "n_layers projections d_model n_heads d_head"),
    monomial(2, "n_layers d_model d_ff"),
)
"""Of the linear maps of all layers."""

HEAD_WEIGHTS: Polynomial = (monomial(1, "d_model vocab_size"),)

PARAMETERS: Polynomial = (
    *LAYER_WEIGHTS,
    *times(HEAD_WEIGHTS, 2),
    monomial(1, "vocab_size"),
    monomial(1, "length d_model"),
    monomial(5, "n_layers d_model"),
    monomial(1, "n_layers d_ff"),
    monomial(2, "d_model"),
)
"""As `ledger.parameter_count`, of a model with a learned table of as many positions as a sequence is long."""

TENSORS: Polynomial = (monomial(8, "n_layers"), monomial(1, "n_layers projections"), monomial(6))
"""That parameters are in: Adam counts steps for each."""

STATE_BYTES: Polynomial = (
    *times(PARAMETERS, 2 * FLOAT),
    *times(PARAMETERS, ADAM_STATE * FLOAT, "updates"),
    *times(TENSORS, FLOAT, "updates"),
)
"""Weights and their gradients, and what Adam keeps where a step has its update."""


def sizes_of(cell: Cell) -> Sizes:
    """Those of a cell whose layers all have the same attention; without those that its attention does not have."""
    config, attention = cell.config, cell.config.attentions[0]
    names = ("d_model", "n_heads", "d_head", "d_ff", "n_layers", "vocab_size")
    sizes = {name: getattr(config, name) for name in names}
    sizes |= {"batch": cell.batch, "length": cell.length, "updates": int(cell.mode == "training_step")}
    sizes |= {"projections": 3 if attention.share_qk else 4, "loss_chunk_len": config.loss_chunk_len}
    match attention:
        case LSHAttention():
            return sizes | {"n_hashes": attention.n_hashes, "chunk_len": attention.chunk_len}
        case LocalAttention():
            return sizes | {"chunk_len": attention.chunk_len}
        case QueryChunkedAttention():
            return sizes | {"query_chunk_len": attention.query_chunk_len}
        case _:
            return sizes
