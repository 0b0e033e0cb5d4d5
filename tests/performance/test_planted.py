"""Extra copies that are put into a step on purpose: what the counters see of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ablations.harness.cell import Cell
from ablations.harness.measure.counters import counted
from ablations.harness.measure.memory import peak_tensor_bytes
from reformer.config import VARIANTS
from reformer.layers import StreamNorm
from tests.performance.cells import DEEP, LAYERS, attention, key, model
from tests.performance.counting import Counting, warm_step
from tests.performance.kept import Counters, differences

TEN = (
    *(model(variant, n_layers=layers) for variant in VARIANTS for layers in (LAYERS, DEEP)),
    attention("blocked"),
    attention("eager"),
)


def with_a_copy(step: Callable[[], None], n_bytes: int) -> Callable[[], None]:
    """The step, and a copy of so many bytes that is kept as long as it takes."""
    original = torch.zeros(n_bytes, dtype=torch.uint8)

    def planted() -> None:
        copied = original.clone()
        step()
        del copied

    return planted


def seen(cell: Cell, honest: Counters, share: float) -> list[str]:
    """What is reported of the peak with a copy of such a share of it, held against the peak without."""
    planted = with_a_copy(warm_step(cell), int(share * honest["peak_bytes"]))
    now = {**honest, "peak_bytes": peak_tensor_bytes(planted)}
    return differences({"now": {key(cell): honest}}, "now", key(cell), now)


def test_a_copy_of_two_per_cent_of_the_peak_is_caught_in_ten_of_ten_cells(counting: Counting) -> None:
    found = [seen(cell, counting.of(cell), 0.02) for cell in TEN]
    caught = [lines for lines in found if len(lines) == 1 and "peak_bytes" in lines[0] and "worse" in lines[0]]
    assert (len(caught), len(TEN)) == (10, 10)


def test_a_copy_of_half_a_per_cent_passes(counting: Counting) -> None:
    assert [seen(cell, counting.of(cell), 0.005) for cell in TEN] == [[]] * len(TEN)


@contextmanager
def copying_what_norms_read() -> Iterator[None]:
    def copy(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(module, StreamNorm):
            arguments[0].clone()

    hook = register_module_forward_pre_hook(copy)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_copy_in_each_layer_that_is_gone_before_the_peak_is_caught_as_one_copy_more(
    variant: str, counting: Counting
) -> None:
    cell = model(variant)
    honest, step = counting.of(cell), warm_step(cell)
    with copying_what_norms_read():
        now = {**honest, **counted(step)._asdict()}
    lines = differences({"now": {key(cell): honest}}, "now", key(cell), now)
    assert any(": copies: " in line for line in lines)
