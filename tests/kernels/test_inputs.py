"""Tensors that do not belong together are refused by name, before a kernel reads what is not theirs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reformer.fused import Inputs as Given
from tests.kernels.cases import DEVICE, Case, Inputs

CASE = Case(batch=2, heads=3, n_rounds=4, length=37, n_buckets=6, padding=5, chunk_len=9)
QUERY = "beside query_BHLK of shape (2, 3, 37, 16) it must be"


def of_case() -> dict[str, Any]:
    query_BHLK, value_BHLK, _, bucket_BHRL, valid_BL = Inputs.of(CASE)
    return {
        "query_BHLK": query_BHLK.detach(),
        "value_BHLK": value_BHLK.detach(),
        "bucket_BHRL": bucket_BHRL,
        "valid_BL": valid_BL,
    }


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from reformer.kernels import hashing, lsh, sorting

    for module in (lsh, sorting, hashing):
        monkeypatch.setattr(module, "launch", lambda *_, **__: pytest.fail("a kernel ran"))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("query_BHLK", lambda x: x[0], "query_BHLK has shape (3, 37, 16), it must be [batch, heads, length, d_head]"),
        ("query_BHLK", lambda x: x[:, :, :0], "query_BHLK has shape (2, 3, 0, 16), it must be"),
        ("value_BHLK", lambda x: x[:, :, :-1], f"value_BHLK has shape (2, 3, 36, 16), {QUERY} (2, 3, 37, 16)"),
        ("value_BHLK", lambda x: x.half(), "value_BHLK is torch.float16, beside query_BHLK of torch.float32 it must be "
         "torch.float32; cast it: value_BHLK.to(torch.float32)"),
        ("bucket_BHRL", lambda x: x[..., :-1], f"bucket_BHRL has shape (2, 3, 4, 36), {QUERY} (2, 3, 4, 37); pass the "
         "one that belongs to it"),
        ("bucket_BHRL", lambda x: x[:1], f"bucket_BHRL has shape (1, 3, 4, 37), {QUERY} (2, 3, 4, 37)"),
        ("bucket_BHRL", lambda x: x[:, :1], f"bucket_BHRL has shape (2, 1, 4, 37), {QUERY} (2, 3, 4, 37)"),
        ("bucket_BHRL", lambda x: x[:, :, 0], f"bucket_BHRL has shape (2, 3, 37), {QUERY} (2, 3, 37, 37)"),
        ("bucket_BHRL", lambda x: x[:, :, :0], f"bucket_BHRL has shape (2, 3, 0, 37), {QUERY} (2, 3, 1, 37)"),
        ("bucket_BHRL", lambda x: x.float(), "bucket_BHRL is torch.float32, beside query_BHLK of torch.float32 it must "
         "be torch.int32 or torch.int16"),
        ("bucket_BHRL", lambda x: x.bool(), "bucket_BHRL is torch.bool"),
        ("valid_BL", lambda x: x[:1], f"valid_BL has shape (1, 37), {QUERY} (2, 37)"),
        ("valid_BL", lambda x: x[:, :-1], f"valid_BL has shape (2, 36), {QUERY} (2, 37)"),
        ("valid_BL", lambda x: x.long(), "valid_BL is torch.int64, beside query_BHLK of torch.float32 it must be "
         "torch.bool; cast it: valid_BL.to(torch.bool)"),
    ],
)  # fmt: skip
def test_attention_refuses_what_does_not_belong_to_its_queries(
    name: str, change: Callable[[Tensor], Tensor], says: str
) -> None:
    from reformer.kernels.ops import lsh_attention

    given = of_case()
    given[name] = change(given[name])
    with pytest.raises(ValueError, match=r"^backend='triton': ") as refusal:
        lsh_attention(*(given[one] for one in ("query_BHLK", "value_BHLK", "bucket_BHRL")), **CASE.options,
                      valid_BL=given["valid_BL"])  # fmt: skip
    assert says in str(refusal.value)


@pytest.mark.parametrize("name", ["value_BHLK", "bucket_BHRL", "valid_BL"])
def test_tensors_on_another_device_are_named(name: str) -> None:
    from reformer.kernels.inputs import check_inputs

    given = of_case()
    given[name] = given[name].to("meta")
    says = rf"{name} is on meta, query_BHLK is on {DEVICE.type}.*; move one to the other: "
    with pytest.raises(ValueError, match=says + rf"{name}.to\(query_BHLK.device\)"):
        check_inputs(Given(**given))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("d_out", lambda x: x[:, :, :-1], f"d_out_BHLK has shape (2, 3, 36, 16), {QUERY} (2, 3, 37, 16)"),
        ("out", lambda x: x.half(), "out_BHLK is torch.float16"),
        ("lse", lambda x: x[:1], f"lse_BHL has shape (1, 3, 37), {QUERY} (2, 3, 37)"),
        ("position", lambda x: x.long(), "position_BHRS is torch.int64"),
    ],
)
def test_the_backward_pass_refuses_what_the_forward_pass_did_not_give(
    name: str, change: Callable[[Tensor], Tensor], says: str
) -> None:
    from reformer.kernels.lsh import attend_backward

    inputs = Given(**of_case())
    options: tuple[Any, ...] = (1.0, 16, 1, 0, "across_rounds", True, False, False, 0.0, 0)
    results = {
        "out": inputs.value_BHLK,
        "lse": torch.zeros(2, 3, 37, device=DEVICE),
        "position": inputs.bucket_BHRL.int(),
        "d_out": inputs.value_BHLK,
    }
    results[name] = change(results[name])
    with pytest.raises(ValueError, match=r"^backend='triton': ") as refusal:
        attend_backward(results["d_out"], *inputs, results["out"], results["lse"], results["position"], *options)
    assert says in str(refusal.value)


VECTOR = "beside vector_BHLK of shape (2, 3, 37, 16) it must be"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rotation_HRKN": torch.ones(3, 4, 16, 4)}, f"rotation_HRKN has shape (3, 4, 16, 4), {VECTOR} (3, 4, 16, 5)"),
        ({"rotation_HRKN": torch.ones(1, 4, 16, 5)}, f"rotation_HRKN has shape (1, 4, 16, 5), {VECTOR} (3, 4, 16, 5)"),
        ({"rotation_HRKN": torch.ones(3, 0, 16, 5)}, f"rotation_HRKN has shape (3, 0, 16, 5), {VECTOR} (3, 1, 16, 5)"),
        ({"n_buckets": (4, 3)}, "n_buckets=(4, 3) has the factor 3; give even factors, 2 or more"),
        ({"n_buckets": (10, 0)}, "n_buckets=(10, 0) has the factor 0; give even factors, 2 or more"),
        ({"valid_BL": torch.ones(1, 37) > 0}, f"valid_BL has shape (1, 37), {VECTOR} (2, 37)"),
        ({"valid_BL": torch.ones(2, 37, dtype=torch.int64)}, "valid_BL is torch.int64, beside vector_BHLK of "
         "torch.float32 it must be torch.bool; cast it: valid_BL.to(torch.bool)"),
        ({"vector_BHLK": torch.ones(3, 37, 16)}, "vector_BHLK has shape (3, 37, 16), it must be"),
    ],
    ids=str,
)  # fmt: skip
def test_hashing_refuses_what_does_not_belong_to_its_vectors(change: dict[str, Any], says: str) -> None:
    from reformer.kernels.ops import hash_vectors

    usual = {"vector_BHLK": torch.ones(2, 3, 37, 16), "rotation_HRKN": torch.ones(3, 4, 16, 5), "n_buckets": (4, 6)}
    given: dict[str, Any] = usual | change
    given = {name: x.to(DEVICE) if isinstance(x, Tensor) else x for name, x in given.items()}
    with pytest.raises(ValueError, match=r"^backend='triton': ") as refusal:
        hash_vectors(**given)
    assert says in str(refusal.value)
