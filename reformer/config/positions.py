"""How a token's place enters the model."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reformer.config.values import Count, Frozen


class LearnedPositions(Frozen):
    """One learned vector of width D for each of `max_len` positions, added to the embedding.

    Attributes:
        kind: Tells positions apart.
    """

    kind: Literal["learned"] = "learned"


class AxialPositions(Frozen):
    """Position vectors glued together from one small table per axis (as in the authors' released code).

    Serves every length up to the product of `shape`, which must reach the `max_len` of a `ReformerConfig`.

    Attributes:
        kind: Tells positions apart.
        shape: Positions along each axis; any number of axes, counted row-major: the last one runs fastest.
        dims: Width of each axis's vectors; in a `ReformerConfig` they add up to `d_model`.

    Raises:
        pydantic.ValidationError: As in `Frozen`, or `shape` and `dims` have different numbers of axes.
    """

    kind: Literal["axial"] = "axial"
    shape: Annotated[tuple[Count, ...], Field(min_length=1)]
    dims: Annotated[tuple[Count, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_width_per_axis(self) -> Self:
        if len(self.shape) != len(self.dims):
            raise ValueError(f"axial shape {self.shape} and dims {self.dims} need one entry per axis each")
        return self


class SinusoidalPositions(Frozen):
    """Fixed sines and cosines of falling frequency, added to the embedding; nothing to train.

    Channels 2i and 2i + 1 of position p hold the sine and cosine of `p / base ** (2i / d_model)`.

    Attributes:
        kind: Tells positions apart.
        base: See above; more than 1.
    """

    kind: Literal["sinusoidal"] = "sinusoidal"
    base: Annotated[float, Field(gt=1)] = 10000.0


class RotaryPositions(Frozen):
    """Queries and keys are rotated by their position, pair of channels by pair; nothing is added to the embedding.

    Hashing sees the vectors before they are rotated, so that buckets depend on content alone. Needs an even head width.

    Attributes:
        kind: Tells positions apart.
        base: Channels 2i and 2i + 1 at position p are turned by `p / base ** (2i / d_head)` radians; more than 1.
    """

    kind: Literal["rotary"] = "rotary"
    base: Annotated[float, Field(gt=1)] = 10000.0


AnyPositions = Annotated[
    LearnedPositions | AxialPositions | SinusoidalPositions | RotaryPositions, Field(discriminator="kind")
]
