"""0w0w, and nothing else."""

import numpy as np
import pytest

from ablations.data.duplication import words


def test_a_zero_and_a_word_are_written_twice() -> None:
    sequences = words(np.random.default_rng(0), 5, 14, 3)
    assert sequences.shape == (5, 14)
    assert sequences.dtype == np.int64
    assert not sequences[:, [0, 7]].any()
    assert np.array_equal(sequences[:, :7], sequences[:, 7:])


def test_words_use_every_symbol_and_no_other() -> None:
    sequences = words(np.random.default_rng(0), 40, 12, 7)
    assert set(np.delete(sequences, [0, 6], axis=1).flat) == {1, 2, 3, 4, 5, 6, 7}


def test_sequences_follow_from_the_generator_and_differ_from_each_other() -> None:
    generator = np.random.default_rng(3)
    first, second = words(generator, 2, 64, 127), words(generator, 2, 64, 127)
    assert np.array_equal(first, words(np.random.default_rng(3), 2, 64, 127))
    assert len({tuple(row) for row in (*first, *second)}) == 4


def test_the_shortest_word_is_one_symbol() -> None:
    assert words(np.random.default_rng(0), 1, 4, 1).tolist() == [[0, 1, 0, 1]]


@pytest.mark.parametrize("length", [-2, 0, 2, 3, 15])
def test_a_length_that_no_two_words_have_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=rf"length={length} .* give an even one of at least 4"):
        words(np.random.default_rng(0), 5, length, 3)
