"""Kernels run where their tensors are."""

import runpy
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from tests.kernels.cases import DEVICE, Case, Inputs, by_kernels

KERNELS = {
    "hash_kernel",
    "count_kernel",
    "place_kernel",
    "chunk_of_kernel",
    "row_terms_kernel",
    "attend_kernel",
    "combine_rounds_kernel",
    "attend_backward_kernel",
    "sum_rounds_kernel",
}


class Guard:
    """In place of `torch.cuda.device_of`: knows whose device is the current one."""

    inside: list[Tensor]

    def __init__(self, of: Tensor) -> None:
        self.of = of

    def __enter__(self) -> Self:
        self.inside.append(self.of)
        return self

    def __exit__(self, *_: object) -> None:
        self.inside.pop()


@pytest.mark.skipif(DEVICE.type == "cuda", reason="watches launches of the interpreter")
def test_every_kernel_is_launched_on_the_device_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.interpreter import GridExecutor

    from reformer.kernels.ops import hash_vectors

    launched: dict[str, bool] = {}
    launch = GridExecutor.__call__

    def watched(self: Any, *arguments: Any, **constants: Any) -> None:  # noqa: ANN401  (Triton is not typed)
        name = self.fn.__name__
        launched[name] = launched.get(name, True) and any(one is arguments[0] for one in Guard.inside)
        launch(self, *arguments, **constants)

    monkeypatch.setattr(Guard, "inside", [], raising=False)
    monkeypatch.setattr(torch.cuda, "device_of", Guard)
    monkeypatch.setattr(GridExecutor, "__call__", watched)
    case = Case(length=21, heads=1, deduplicate=True)
    inputs = Inputs.of(case)
    hash_vectors(inputs.query_BHLK, torch.ones(1, 3, 16, 2), n_buckets=(4,))
    by_kernels(case, inputs)
    assert launched == dict.fromkeys(KERNELS, True)


def test_constants_of_the_kernels_are_those_of_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.functional import chunked, scores
    from reformer.kernels import forward_kernels, row_kernels

    monkeypatch.setattr(scores, "KEY_EPSILON", 0.5)
    monkeypatch.setattr(chunked, "NOTHING_SEEN", -0.25)
    assert runpy.run_path(row_kernels.__file__)["KEY_EPSILON"].value == 0.5
    assert runpy.run_path(forward_kernels.__file__)["NOTHING_SEEN"].value == -0.25
