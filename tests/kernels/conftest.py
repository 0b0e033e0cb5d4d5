"""Where there is no GPU, kernels run in Triton's interpreter, which has to be chosen before Triton is imported."""

import os
import sys
from typing import Any

import pytest
import torch

HAS_GPU = torch.cuda.is_available()

if not HAS_GPU and os.environ.get("TRITON_INTERPRET") != "1":
    if "triton" in sys.modules:
        raise pytest.UsageError("something imported triton before tests/kernels/conftest.py; set TRITON_INTERPRET=1")
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real sizes are for real GPUs."""
    for item in items:
        if item.get_closest_marker("gpu") and not HAS_GPU and "tests/kernels" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that kernels get is full of what no result may hold: NaN, and positions and ids far out."""
    from reformer import fused
    from reformer.kernels import hashing, launch, lsh, sorting

    plain = launch.empty

    def poisoned(*shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        memory = plain(*shape, dtype=dtype, device=device)
        poison: Any = float("nan") if dtype.is_floating_point else torch.iinfo(dtype).min
        return memory.fill_(poison)

    for module in (launch, lsh, hashing, sorting):
        monkeypatch.setattr(module, "empty", poisoned)
    monkeypatch.setattr(lsh, "empty_heads", lambda like_BHLK: fused.empty_heads(like_BHLK).fill_(float("nan")))
