"""What a step's peak and its time are taken to be made of: a sum of these, each so many times, which a fit finds.

The shares of the peak are those of `ablations.harness.ledger`, without its account of which moment is the peak. The
shares of time are those of `ablations.harness.work`, with a cost of every layer, of every activation and of every
update. Sizes are the same for Python and for the page: see `sizes`.
"""

from collections.abc import Mapping

from ablations.harness.ledger_sizes import FLOAT
from ablations.harness.work import PASSES
from ablations.report.what_if.sizes import (
    HEAD_WEIGHTS,
    LAYER_WEIGHTS,
    PARAMETERS,
    Monomial,
    Polynomial,
    monomial,
    times,
)
from reformer.config import Frozen, Residual


class Feature(Frozen):
    """A share of the whole.

    Attributes:
        name: What it is, in words.
        amount: How much of it there is; bytes, operations or a count, which the fit gives a price.
        least_price: What no fit may go below.
    """

    name: str
    amount: Polynomial
    least_price: float = 0.0


def _bytes(name: str, *amount: Monomial) -> Feature:
    return Feature(name=name, amount=times(amount, FLOAT))


_STREAM = _bytes("residual streams", monomial(1, "batch length d_model"))
_HEADS, _POSITIONS = "batch n_heads length d_head", "batch n_heads length"
_KEPT_BY_ATTENTION: Mapping[str, Polynomial] = {
    "dense": (
        monomial(4, _HEADS),
        monomial(2, _POSITIONS),
        monomial(1, f"{_POSITIONS} length"),
        # Two masks of a byte for each pair.
        monomial(0.5, "length length"),
    ),
    "dense_query_chunked": (monomial(4, _HEADS),),
    "dense_fused": (monomial(4, _HEADS), monomial(1, _POSITIONS)),
    "local": (monomial(4, _HEADS), monomial(2, f"{_POSITIONS} chunk_len")),
    # Log-sum-exps, orders and, of two bytes, buckets.
    "lsh": (monomial(3, _HEADS), monomial(2.5, f"{_POSITIONS} n_hashes")),
}
"""In floats."""
_KEPT_BESIDE: Polynomial = (
    # Two streams and two norms, and what a norm keeps of each position.
    monomial(4, "batch length d_model"),
    monomial(4, "batch length"),
    monomial(2, "batch length d_ff"),
)
_BACKWARD: Mapping[str, tuple[Feature, ...]] = {
    "dense": (_bytes("scores of all pairs", monomial(1, f"{_POSITIONS} length")),),
    "dense_query_chunked": (_bytes("scores of a chunk of queries", monomial(1, f"{_POSITIONS} query_chunk_len")),),
    "dense_fused": (),
    "local": (_bytes("scores of all windows", monomial(1, f"{_POSITIONS} chunk_len")),),
    "lsh": (
        _bytes("slots of the heads that are taken together", monomial(3, "slots d_head"), monomial(8, "slots")),
        _bytes("scores of a block of windows", monomial(1, "block_scores")),
    ),
}
_BUCKETS = _bytes("buckets of each layer", monomial(0.5, f"n_layers {_POSITIONS} n_hashes"))
_INPUTS = _bytes("inputs of each layer", monomial(2, "n_layers batch length d_model"))
_ONCE = (
    _bytes("a hidden layer of a feed-forward half", monomial(1, "batch length d_ff")),
    _bytes("logits", monomial(1, "batch loss_positions vocab_size"), *HEAD_WEIGHTS),
    _bytes("gradients of a layer's weights", monomial(2, "d_model d_ff"), monomial(1, "d_model n_heads d_head")),
)


def memory_features(attention: str, residual: Residual) -> tuple[Feature, ...]:
    """Shares of the peak above weights, gradients and the optimiser's state.

    Args:
        attention: Kind of attention of all layers.
        residual: How they are chained, which says what is kept of each: all, its inputs, or its buckets alone.
    """
    layer = (*_KEPT_BY_ATTENTION[attention], *_KEPT_BESIDE)
    all_layers, one_layer = _bytes("all of each layer", *times(layer, 1, "n_layers")), _bytes("a layer", *layer)
    buckets = (_BUCKETS,) if attention == "lsh" else ()
    kept = {
        "standard": (all_layers,),
        "single_stream": (all_layers,),
        "checkpointed": (_INPUTS, one_layer),
        "reversible": (*buckets, one_layer),
    }[residual]
    return (*kept, _STREAM, *_BACKWARD[attention], *_ONCE)


_PAIRS = "batch n_layers n_heads length"
_ATTENTION_WORK: Mapping[str, str] = {
    "dense": "length d_head",
    "dense_query_chunked": "length d_head",
    "dense_fused": "length d_head",
    "local": "chunk_len d_head",
    "lsh": "n_hashes chunk_len d_head",
}
_ELEMENTS: Mapping[str, str] = {
    "dense": "length",
    "dense_query_chunked": "length",
    "dense_fused": "length",
    "local": "chunk_len",
    "lsh": "n_hashes d_head",
}


def time_features(attention: str, flops_per_second: float | None) -> tuple[Feature, ...]:
    """Shares of a step's time.

    Args:
        attention: Kind of attention of all layers.
        flops_per_second: Of the machine's fastest matrix product, if it was measured: linear maps are not priced below
            it, though they may be too small a share of the models measured for a fit to find them.
    """
    linear = times((*LAYER_WEIGHTS, *HEAD_WEIGHTS), 2 * PASSES["forward_backward"], "batch length")
    least = 1 / flops_per_second if flops_per_second else 0.0
    return (
        Feature(name="products of linear maps", amount=linear, least_price=least),
        _work("products of attention", monomial(2, f"{_PAIRS} {_ATTENTION_WORK[attention]}")),
        _work("a layer", monomial(1, "n_layers")),
        _work("updates of parameters", *times(PARAMETERS, 1, "updates")),
        _work("elements of activations", monomial(1, "batch n_layers length d_model")),
        _work("elements of attention", monomial(1, f"{_PAIRS} {_ELEMENTS[attention]}")),
        _work("a step", monomial(1)),
    )


def _work(name: str, *amount: Monomial) -> Feature:
    return Feature(name=name, amount=amount)
