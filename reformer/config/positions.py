"""How a token's place enters the model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reformer.config.values import Count, Frozen


class LearnedPositions(Frozen):
    """One learned vector for each of `max_len` positions."""

    kind: Literal["learned"] = "learned"


class AxialPositions(Frozen):
    """Position vectors glued together from one small table per axis (as in the authors' released code).

    Serves every length up to the product of `shape`.
    """

    kind: Literal["axial"] = "axial"
    shape: tuple[Count, ...]
    dims: tuple[Count, ...]

    @model_validator(mode="after")
    def _one_width_per_axis(self) -> Self:
        if len(self.shape) != len(self.dims):
            raise ValueError(f"axial shape {self.shape} and dims {self.dims} need one entry per axis each")
        return self


class SinusoidalPositions(Frozen):
    """Fixed sines and cosines of falling frequency, added to the embedding; nothing to train.

    Channels 2i and 2i + 1 of position p hold the sine and cosine of `p / base ** (2i / d_model)`.
    """

    kind: Literal["sinusoidal"] = "sinusoidal"
    base: Annotated[float, Field(gt=1)] = 10000.0


class RotaryPositions(Frozen):
    """Queries and keys are rotated by their position, pair of channels by pair; nothing is added to the embedding.

    Hashing sees the vectors before they are rotated, so that buckets depend on content alone. Needs an even head width.
    """

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(gt=1)] = 10000.0


AnyPositions = Annotated[
    LearnedPositions | AxialPositions | SinusoidalPositions | RotaryPositions, Field(discriminator="kind")
]
