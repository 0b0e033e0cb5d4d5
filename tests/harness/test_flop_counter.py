"""Torch's own counter beside the analytic operations: where they agree, and what the counter does not see.

Pins what torch does today, so that a new version tells us when it sees more.
"""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ablations.harness.cell import Cell, Mode, TimeStep
from ablations.harness.steps import build_trial
from ablations.harness.work import work_of

from .cells import SIZES, cell, config

BATCH, LENGTH, LAYERS = 3, 24, 2
HEAD = 2 * BATCH * LENGTH * SIZES["d_model"] * SIZES["vocab_size"]
"""Operations of the language model's head, forward."""


def model(variant: str, mode: Mode, *, causal: bool = False) -> Cell:
    """Attends to everything, so that the counter, which knows no masks, counts what there is."""
    sizes = config(variant, length=LENGTH, causal=causal, n_layers=LAYERS)
    return cell(variant, length=LENGTH, config=sizes, workload=TimeStep(mode=mode), batch=BATCH)


def counted(one: Cell, mode: Mode) -> int:
    step = build_trial(one).step(mode)
    with FlopCounterMode(display=False) as counter:
        step()
    total: int = counter.get_total_flops()
    return total


@pytest.mark.parametrize("variant", ["dense", "dense_separate_qk", "reversible_only"])
def test_the_counter_and_the_analytic_count_of_a_forward_pass_agree(variant: str) -> None:
    one = model(variant, "forward")
    assert counted(one, "forward") == work_of(one).flops


@pytest.mark.parametrize("variant", ["dense", "dense_separate_qk"])
def test_with_gradients_the_counter_misses_one_product_of_the_head_alone(variant: str) -> None:
    # The loss adds its pieces of the head's gradient up in place, by `addmm_`, which the counter does not know.
    one = model(variant, "forward_backward")
    assert counted(one, "forward_backward") == work_of(one).flops - HEAD


def test_recomputation_is_counted_by_the_counter_and_never_by_us() -> None:
    plain, again = (model(name, "forward_backward") for name in ("dense", "dense_checkpointed"))
    assert work_of(plain) == work_of(again)
    layers = work_of(model("dense", "forward")).flops - HEAD
    assert counted(again, "forward_backward") - counted(plain, "forward_backward") <= layers
    assert counted(again, "forward_backward") > counted(plain, "forward_backward")


def test_masked_pairs_are_half_of_the_counter_s_and_none_of_ours() -> None:
    one = model("dense", "forward", causal=True)
    pairs = 2 * LAYERS * BATCH * LENGTH * LENGTH * SIZES["n_heads"] * SIZES["d_head"]
    assert counted(one, "forward") - work_of(one).flops == pairs


@pytest.mark.parametrize(("backend", "seen"), [(SDPBackend.MATH, 1), (SDPBackend.FLASH_ATTENTION, 0)])
def test_the_counter_does_not_see_flash_attention_on_a_cpu(backend: SDPBackend, seen: int) -> None:
    query = torch.zeros(2, 3, 40, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel([backend]):
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    assert counter.get_total_flops() == seen * (4 * 2 * 3 * 40 * 40 * 16)


def test_the_counter_breaks_on_reversible_layers() -> None:
    """Its hooks ask autograd about a node outside of the backward pass that the layer runs within its own."""
    with pytest.raises(RuntimeError, match=r"_will_engine_execute_node|Expected gradient function"):
        counted(model("reversible_only", "forward_backward"), "forward_backward")
