"""The duplication task of the paper (section 2.1, Table 2): 0w0w, a word of random symbols written twice."""

import numpy as np
from numpy.typing import NDArray


def words(generator: np.random.Generator, count: int, length: int, n_symbols: int) -> NDArray[np.int64]:
    """Fresh sequences, `[count, length]`: 0, a word w of symbols from 1 to `n_symbols`, 0, and w again.

    Args:
        generator: Where the symbols come from.
        count: Sequences.
        length: Of each, both zeros and both words included.
        n_symbols: How many the words are made of; 0 is none of them.

    Raises:
        ValueError: The length is odd or below 4.
    """
    if length < 4 or length % 2:
        raise ValueError(f"length={length} is not that of 0w0w; give an even one of at least 4")
    word_NW = generator.integers(1, n_symbols + 1, size=(count, length // 2 - 1))
    half_NW = np.pad(word_NW, ((0, 0), (1, 0)))
    return np.concatenate([half_NW, half_NW], axis=1)
