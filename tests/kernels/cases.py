"""Cases of LSH attention, run by the kernels, by the specification, and by the specification in float64."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reformer.functional import lsh as specification
from reformer.functional.windows import Window, Wrap

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Case(NamedTuple):
    """One configuration; every size differs from every other, so that a wrong one shows."""

    length: int = 63
    width: int = 16
    n_rounds: int = 2
    n_buckets: int = 6
    chunk_len: int = 16
    n_before: int = 1
    n_after: int = 0
    wrap: Wrap = "across_rounds"
    causal: bool = True
    same_bucket_only: bool = False
    deduplicate: bool = False
    padding: int = 0
    dtype: torch.dtype = torch.float32
    batch: int = 1
    heads: int = 2
    score_scale: float = 1.0
    seed: int = 0

    @property
    def options(self) -> dict[str, Any]:
        """As `lsh_attention` takes them."""
        return {
            "score_scale": self.score_scale,
            "window": Window(self.chunk_len, self.n_before, self.n_after, self.wrap),
            "causal": self.causal,
            "same_bucket_only": self.same_bucket_only,
            "deduplicate": self.deduplicate,
        }

    def __str__(self) -> str:
        """What differs from the default."""
        changed = {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}
        return ",".join(f"{name}={value}" for name, value in changed.items()) or "default"


class Inputs(NamedTuple):
    """What a case is tried on: heads cut out of projections, so strided as [B, L, H, K]."""

    query_BHLK: Tensor
    value_BHLK: Tensor
    d_out_BHLK: Tensor
    bucket_BHRL: Tensor
    valid_BL: Tensor | None

    @classmethod
    def of(cls, case: Case) -> "Inputs":
        """The same for the same case, on every device."""
        generator = torch.Generator().manual_seed(case.seed)
        shape = (case.batch, case.length, case.heads, case.width)
        query_BHLK, value_BHLK, d_out_BHLK = (
            torch.randn(shape, generator=generator).to(DEVICE, case.dtype).transpose(1, 2).requires_grad_(grad)
            for grad in (True, True, False)
        )
        bucket_BHRL = torch.randint(
            case.n_buckets, (case.batch, case.heads, case.n_rounds, case.length), generator=generator, dtype=torch.int16
        ).to(DEVICE)
        if not case.padding:
            return cls(query_BHLK, value_BHLK, d_out_BHLK, bucket_BHRL, None)
        valid_BL = torch.arange(case.length, device=DEVICE).expand(case.batch, -1) < case.length - case.padding
        # One position in the middle as well.
        valid_BL = valid_BL & (torch.arange(case.length, device=DEVICE) != case.length // 3)
        bucket_BHRL = bucket_BHRL.masked_fill(~valid_BL[:, None, None], case.n_buckets)
        return cls(query_BHLK, value_BHLK, d_out_BHLK, bucket_BHRL, valid_BL)

    def changed(self, change: Callable[[Tensor], Tensor], *, rows_only: bool = False) -> "Inputs":
        """All tensors, or those of rows alone, replaced by what `change` makes of them."""
        rows = {name: change(getattr(self, name).detach()) for name in self._fields[: 3 if rows_only else 4]}
        return self._replace(**rows)


class Results(NamedTuple):
    """Output and gradients."""

    out: Tensor
    d_query: Tensor
    d_value: Tensor


def by_kernels(case: Case, inputs: Inputs) -> Results:
    """What the kernels make of it."""
    from reformer.kernels.ops import lsh_attention

    return _results(lsh_attention, case, inputs, inputs.query_BHLK.dtype)


def by_specification(case: Case, inputs: Inputs, dtype: torch.dtype) -> Results:
    """What the specification makes of it, in some precision."""
    return _results(specification.lsh_attention, case, inputs, dtype)


def _results(attention: Any, case: Case, inputs: Inputs, dtype: torch.dtype) -> Results:  # noqa: ANN401
    query, value = (x.detach().to(dtype).requires_grad_() for x in (inputs.query_BHLK, inputs.value_BHLK))
    out = attention(query, value, inputs.bucket_BHRL, valid_BL=inputs.valid_BL, **case.options)
    return Results(out.detach(), *torch.autograd.grad(out, (query, value), inputs.d_out_BHLK.to(dtype)))


def assert_as_exact_as_plain(case: Case, inputs: Inputs) -> None:
    """The kernels err at most twice what the specification in the same precision errs against float64.

    Errors are root mean squares: a single wrong row among correct ones is far above the rounding of all.
    """
    exact = by_specification(case, inputs, torch.float64)
    plain = by_specification(case, inputs, case.dtype)
    for name, result, reference, truth in zip(Results._fields, by_kernels(case, inputs), plain, exact, strict=True):
        assert result.dtype == case.dtype
        assert result.shape == truth.shape
        error, allowed = (float((x.double() - truth).square().mean().sqrt()) for x in (result, reference))
        # Below half a unit in the last place of float64's own noise there is nothing to compare.
        assert error <= max(2 * allowed, 1e-12), f"{name}: error {error:.2e}, plain {allowed:.2e}"
