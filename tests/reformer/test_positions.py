"""Where a token stands, against the formulas written out for one number at a time."""

import math

import pytest
import torch

from reformer.positions import Sinusoids, rotated

LENGTH = 19
FLOAT32 = 5e-6
"""Angles are float32 and reach 18 here: one rounding of them, of the frequency and of the exponent."""


@pytest.mark.parametrize("width", [7, 10])
@pytest.mark.parametrize("base", [50.0, 10_000.0])
def test_sinusoids_are_sine_and_cosine_of_the_position_times_a_falling_frequency(base: float, width: int) -> None:
    expected = torch.zeros(LENGTH, width)
    for position in range(LENGTH):
        for channel in range(width):
            angle = position / base ** (2 * (channel // 2) / width)
            expected[position, channel] = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
    found = Sinusoids(width, base)(torch.arange(LENGTH))
    torch.testing.assert_close(found, expected, rtol=0, atol=FLOAT32)


def test_sinusoids_of_positions_that_differ_by_example_are_those_of_the_positions() -> None:
    every = Sinusoids(7, 50.0)(torch.arange(LENGTH))
    position_BL = torch.tensor([[3], [0], [18], [3]])
    assert torch.equal(Sinusoids(7, 50.0)(position_BL), every[position_BL])


@pytest.mark.parametrize("base", [50.0, 10_000.0])
def test_rotated_turns_each_pair_of_channels_by_the_position_times_its_frequency(base: float) -> None:
    batch, heads, width = 2, 3, 8
    generator = torch.Generator().manual_seed(0)
    x_BHLK = torch.randn(batch, heads, LENGTH, width, generator=generator, dtype=torch.float64)
    expected = torch.zeros_like(x_BHLK)
    for position in range(LENGTH):
        for pair in range(width // 2):
            angle = position / base ** (2 * pair / width)
            turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
            both = slice(2 * pair, 2 * pair + 2)
            expected[:, :, position, both] = x_BHLK[:, :, position, both] @ turn.T
    found = rotated(x_BHLK, torch.arange(LENGTH), base=base)
    torch.testing.assert_close(found, expected, rtol=0, atol=3 * FLOAT32)
