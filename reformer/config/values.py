"""What all configs are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, strict=True)]
"""A whole number of at least one."""

Chunks = Annotated[int, Field(ge=0, strict=True)]
"""A number of chunks beside the own one."""

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping an entry: at least 0, below 1."""


class Frozen(BaseModel):
    """A value: immutable, compared by content, with finite numbers only, and with no field it does not know.

    Raises:
        pydantic.ValidationError: A field is missing, unknown or out of range, or is assigned to later; names it and
            what was given. It is a `ValueError`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
