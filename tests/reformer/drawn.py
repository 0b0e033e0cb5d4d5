"""How many configurations the property tests draw, and padding for them.

By default each property is tried on as many drawn cases as `CASES` says, the same ones every time; with
`pytest -m exhaustive` on ten times as many.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

CASES = {
    "lsh attention": 300,
    "blocked": 150,
    "local attention": 80,
    "dense attention": 40,
    "reversible": 150,
    "causal": 60,
    "pads": 80,
    "unpadded": 60,
    "rows": 40,
    "permuted": 30,
    "seeds": 30,
}
"""Drawn configurations by property. CI is promised 300 altogether, and the exhaustive run 3,000."""

at_every_scale = pytest.mark.parametrize(
    "scale", [1, pytest.param(10, marks=(pytest.mark.exhaustive, pytest.mark.timeout(3600)))]
)


def holds(name: str, scale: int, cases: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    """Run the check on so many times the drawn cases that this property gets."""

    @settings(
        max_examples=scale * CASES[name],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases)
    def property_(case: Any) -> None:  # noqa: ANN401  (each property has a case of its own)
        check(case)

    property_()


@st.composite
def masks(draw: st.DrawFn, batch: int, length: int) -> Tensor | None:
    """Which positions are valid, or `None`; the first and the second position alone are padding often."""
    if draw(st.booleans()):
        return None
    rows = []
    for _ in range(batch):
        padded: set[int] = draw(
            st.one_of(
                st.sampled_from([{0}, {1}, {0, 1}, set(range(length))]),
                st.integers(0, length).map(lambda first: set(range(first, length))),
                st.sets(st.integers(0, length - 1)),
            )
        )
        rows.append([position not in padded for position in range(length)])
    return torch.tensor(rows)
