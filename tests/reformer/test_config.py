"""Configs: names follow from content, and what cannot exist is refused in words."""

import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from reformer.config import (
    AxialPositions,
    DenseAttention,
    FusedAttention,
    LocalAttention,
    LSHAttention,
    ReformerConfig,
    default_bucket_count,
)
from tests.reformer.models import EVERY_VARIANT, SIZES, config


@pytest.mark.parametrize("name", EVERY_VARIANT)
def test_the_name_of_a_variant_follows_from_its_switches(name: str) -> None:
    assert config(name).variant == name


def test_a_combination_without_a_name_says_what_it_is() -> None:
    assert config("local_only", residual="checkpointed").variant == "local/True/checkpointed"


def test_a_pattern_of_attentions_is_cycled_over_the_layers() -> None:
    pattern = (LocalAttention(), LocalAttention(), LSHAttention())
    kinds = [one.kind for one in config("dense", attention=pattern, n_layers=5).attentions]
    assert kinds == ["local", "local", "lsh", "local", "local"]


@pytest.mark.parametrize("name", EVERY_VARIANT)
def test_configs_survive_json(name: str) -> None:
    one = config(name, attention=(EVERY_VARIANT[name].attention, LSHAttention()))
    assert ReformerConfig.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    ("max_len", "chunk_len", "expected"),
    [(10, 64, (2,)), (64, 64, (2,)), (4096, 64, (128,)), (8192, 64, (16, 16)), (65536, 64, (32, 64))],
)
def test_the_default_is_two_buckets_per_chunk(max_len: int, chunk_len: int, expected: tuple[int, ...]) -> None:
    assert default_bucket_count(max_len, chunk_len) == expected


@pytest.mark.parametrize("max_len", range(100, 70000, 3777))
def test_default_factors_are_even_and_cover_the_count(max_len: int) -> None:
    factors = default_bucket_count(max_len, 32)
    assert all(factor % 2 == 0 for factor in factors)
    assert 2 * (max_len // 32) <= math.prod(factors) <= 2.2 * (max_len // 32)


def test_the_bucket_count_is_fixed_by_the_config_and_kept_when_given() -> None:
    assert config("reformer", max_len=2048).attentions[0] == LSHAttention(n_hashes=3, chunk_len=8, n_buckets=(16, 32))
    given = LSHAttention(n_buckets=6)
    assert config("reformer", attention=given).attention == given


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": {"kind": "lsh", "n_hashes": 0, "n_buckets": [2]}}, "n_hashes"),
        ({"n_layers": 0}, "n_layers"),
        ({"positions": AxialPositions(shape=(7, 9), dims=(6, 6))}, "max_len=64 is longer than the 63 positions"),
        ({"positions": AxialPositions(shape=(8, 8), dims=(6, 5))}, "add up to 11, not to d_model=12"),
        ({"attention": FusedAttention(), "causal": False}, "use kind 'dense'"),
        ({"attention": DenseAttention(), "n_hashes": 2}, "n_hashes"),
    ],
)
def test_what_cannot_exist_is_refused_by_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ReformerConfig.model_validate({**SIZES, "attention": DenseAttention(), "residual": "standard", **changes})


def test_an_odd_bucket_count_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ValidationError, match=r"n_buckets=33 is odd.*use 32 or 34"):
        LSHAttention(n_buckets=33)


def test_more_buckets_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(ValidationError, match="more than the 2147483647 buckets"):
        LSHAttention(n_buckets=(65536, 65536))


def test_an_axis_needs_one_width() -> None:
    with pytest.raises(ValidationError, match="one entry per axis"):
        AxialPositions(shape=(8, 8), dims=(12,))


def test_importing_the_library_imports_no_torch() -> None:
    code = "import sys, reformer; assert reformer.VARIANTS; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
