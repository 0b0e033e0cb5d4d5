"""The kernels are operators that PyTorch can check, differentiate and compile around."""

import pytest
import torch
from torch import Tensor

from reformer.functional.hashing import random_rotations
from tests.kernels.cases import DEVICE, Case, Inputs

SMALL = Case(length=21, heads=1, padding=4)


def test_the_operators_pass_pytorchs_own_checks() -> None:
    from reformer.kernels import ops

    inputs = Inputs.of(SMALL)
    options = (1.0, 16, 1, 0, "across_rounds", True, False, False, 0.0, 0)
    arguments = (inputs.query_BHLK, inputs.value_BHLK, inputs.bucket_BHRL, inputs.valid_BL, *options)
    torch.library.opcheck(torch.ops.reformer_triton.attend.default, arguments)
    rotation_HRKN = random_rotations(torch.Generator().manual_seed(1), n_heads=1, d_head=16, n_hashes=2, n_buckets=(6,))
    vector_BHLK = inputs.query_BHLK.detach()
    torch.library.opcheck(ops._hash, (vector_BHLK, rotation_HRKN.to(DEVICE), [6], inputs.valid_BL))


def test_a_compiled_function_gives_what_it_gives_uncompiled() -> None:
    from reformer.kernels import ops

    inputs = Inputs.of(SMALL)
    rotation_HRKN = random_rotations(torch.Generator().manual_seed(1), n_heads=1, d_head=16, n_hashes=2, n_buckets=(6,))
    rotation_HRKN = rotation_HRKN.to(DEVICE)

    def step(query: Tensor, value: Tensor) -> Tensor:
        bucket = ops.hash_vectors(query, rotation_HRKN, n_buckets=(6,), valid_BL=inputs.valid_BL)
        out = ops.lsh_attention(query * 2, value, bucket, valid_BL=inputs.valid_BL, **SMALL.options)
        return out.transpose(1, 2).flatten(2)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    results = []
    for function in (step, compiled):
        out = function(inputs.query_BHLK, inputs.value_BHLK)
        gradients = torch.autograd.grad(out.square().sum(), (inputs.query_BHLK, inputs.value_BHLK))
        results.append((out.detach(), *gradients))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_hashing_passes_no_gradient() -> None:
    from reformer.kernels import ops

    inputs = Inputs.of(SMALL)
    rotation_HRKN = torch.ones(1, 1, 16, 2, device=DEVICE)
    assert not ops.hash_vectors(inputs.query_BHLK, rotation_HRKN, n_buckets=(4,)).requires_grad


@pytest.mark.skipif(DEVICE.type == "cuda", reason="a sparse file is no GPU memory")
def test_rows_may_lie_further_apart_than_an_int32_reaches(tmp_path_factory: pytest.TempPathFactory) -> None:
    from reformer.kernels import ops

    case = Case(length=40, heads=1, n_rounds=1, dtype=torch.float16)
    inputs = Inputs.of(case)
    # A sparse file: 40 rows 2**27 elements apart, of which only the pages of the rows themselves exist.
    apart = 2**27
    path = tmp_path_factory.mktemp("sparse") / "rows"
    n_elements = case.length * apart
    memory = torch.from_file(str(path), shared=True, size=n_elements, dtype=torch.float16)
    far = [
        memory[first:].as_strided((1, 1, case.length, case.width), (n_elements, n_elements, apart, 1))
        for first in (0, 64)
    ]
    for there, here in zip(far, inputs, strict=False):
        assert here is not None
        there.copy_(here.detach())
    near = (inputs.query_BHLK.detach(), inputs.value_BHLK.detach())
    results = []
    for query, value in (near, far):
        query, value = query.requires_grad_(), value.requires_grad_()
        out = ops.lsh_attention(query, value, inputs.bucket_BHRL, **case.options)
        results.append((out.detach(), *torch.autograd.grad(out, (query, value), inputs.d_out_BHLK)))
    path.unlink()
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
