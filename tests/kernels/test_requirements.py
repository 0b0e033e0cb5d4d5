"""What the kernels do not serve is refused, by name, with a way out; and nothing needs Triton before it is used."""

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from reformer.functional.dropping import Dropout
from reformer.functional.windows import Window
from tests.kernels.cases import DEVICE, Case, Inputs

CUDA = torch.device("cuda", 0)
WAY_OUT = r"backend='triton': .*use backend='blocked', which runs on CPU and CUDA alike, or backend='eager'"


@pytest.fixture
def _a_recent_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


@pytest.mark.usefixtures("_a_recent_gpu")
@pytest.mark.parametrize("d_head", [16, 17, 96, 128])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_what_is_served_passes(d_head: int, dtype: torch.dtype) -> None:
    from reformer.kernels.requirements import check_can_run

    check_can_run(CUDA, d_head=d_head, dtype=dtype)


@pytest.mark.usefixtures("_a_recent_gpu")
@pytest.mark.parametrize(
    ("d_head", "dtype", "names"),
    [
        (15, torch.float32, "d_head=15 is not within 16..128"),
        (129, torch.float32, "d_head=129 is not within 16..128"),
        (64, torch.float64, "torch.float64 is not one of torch.bfloat16, torch.float16, torch.float32"),
    ],
)
def test_heads_and_types_that_are_not_served_are_named(d_head: int, dtype: torch.dtype, names: str) -> None:
    from reformer.kernels.requirements import check_can_run

    with pytest.raises(ValueError, match=WAY_OUT) as refusal:
        check_can_run(CUDA, d_head=d_head, dtype=dtype)
    assert names in str(refusal.value)


def test_an_old_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels.requirements import check_can_run

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(RuntimeError, match=WAY_OUT) as refusal:
        check_can_run(CUDA, d_head=64, dtype=torch.float16)
    assert "cuda:0 has compute capability 7.5, the kernels need 8.0" in str(refusal.value)


def test_a_cpu_is_refused_unless_kernels_are_interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels.requirements import check_can_run

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    check_can_run(torch.device("cpu"), d_head=64, dtype=torch.float16)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(RuntimeError, match=WAY_OUT) as refusal:
        check_can_run(torch.device("cpu"), d_head=64, dtype=torch.float16)
    assert "the tensors are on cpu" in str(refusal.value)


def test_a_machine_without_triton_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels.requirements import check_can_run

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(RuntimeError, match=WAY_OUT) as refusal:
        check_can_run(CUDA, d_head=64, dtype=torch.float16)
    assert "the package triton is not installed" in str(refusal.value)


def test_everything_can_be_imported_without_triton() -> None:
    program = """
import sys
sys.modules["triton"] = None
import torch
from reformer.functional.windows import Window
from reformer.kernels import configurations, hashing, inputs, lsh, ops, requirements, sorting, tuning
x, bucket = torch.zeros(1, 1, 20, 16), torch.zeros(1, 1, 1, 20, dtype=torch.int16)
calls = (
    lambda: ops.lsh_attention(x, x, bucket, score_scale=1.0, window=Window(8, 1, 0, "none"), causal=True),
    lambda: ops.hash_vectors(x, torch.zeros(1, 1, 16, 2), n_buckets=(4,)),
)
for call in calls:
    try:
        call()
    except RuntimeError as error:
        print(error)
"""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert said.count("backend='triton': the package triton is not installed") == 2, said


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"drop": Dropout(0.1, 7)}, "dropout=0.1 of attention weights is not served"),
        ({"drop": lambda weight, _: weight}, "of attention weights is not served"),
        ({"window": Window(0, 1, 0, "none")}, "chunk_len=0 is less than 1; give 1 or more"),
        ({"window": Window(8, -2, 3, "none")}, "n_before=-2 is less than 0; give 0 or more"),
        ({"window": Window(8, 0, -1, "none")}, "n_after=-1 is less than 0; give 0 or more"),
        (
            {"window": Window(16, 1, 0, "sideways")},  # type: ignore[arg-type]
            "wrap='sideways' is not one of across_rounds, per_round, none; give one of them",
        ),
    ],
)
def test_options_that_are_not_served_are_named(change: dict[str, Any], names: str) -> None:
    from reformer.kernels.ops import lsh_attention

    inputs, options = Inputs.of(Case()), Case().options | change
    with pytest.raises(ValueError, match=r"backend='triton': ") as refusal:
        lsh_attention(inputs.query_BHLK, inputs.value_BHLK, inputs.bucket_BHRL, **options)
    assert names in str(refusal.value)


def test_options_are_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels import lsh

    def worked(_: torch.Tensor) -> None:
        pytest.fail("sorted first")

    monkeypatch.setattr(lsh, "sort_by_bucket", worked)
    inputs, options = Inputs.of(Case()), (1.0, 16, 1, 0, "across_rounds", True, False, False, 0.1, 7)
    with pytest.raises(ValueError, match=r"dropout=0\.1 of attention weights is not served"):
        lsh.attend(inputs.query_BHLK, inputs.value_BHLK, inputs.bucket_BHRL, None, *options)


def test_dropout_of_rate_zero_is_no_dropout() -> None:
    from reformer.kernels.requirements import check_no_dropout

    check_no_dropout(Dropout(0.0, 123))


def test_the_operators_refuse_what_the_functions_refuse() -> None:
    from reformer.kernels.ops import hash_vectors, lsh_attention

    wide = torch.zeros(1, 2, 63, 129, device=DEVICE)
    with pytest.raises(ValueError, match=WAY_OUT):
        hash_vectors(wide, torch.zeros(2, 1, 129, 2, device=DEVICE), n_buckets=(4,))
    with pytest.raises(ValueError, match=WAY_OUT):
        lsh_attention(wide, wide, Inputs.of(Case()).bucket_BHRL, **Case().options)
