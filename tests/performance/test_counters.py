"""Each cell's counters are those of the committed file, to one per cent either way."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ablations.harness.cell import Cell
from reformer.config import VARIANTS
from tests.performance.book import Book
from tests.performance.cells import CELLS, LENGTHS, key, model, name
from tests.performance.counting import Counting
from tests.performance.kept import Counters

OVER_LENGTH = {f"{variant} forward_backward over length={','.join(map(str, LENGTHS))}": variant for variant in VARIANTS}


def entered(benchmark: BenchmarkFixture, book: Book, what: str, counted: Counters) -> None:
    benchmark.extra_info.update(counted, key=what)
    book.enter(what, counted)


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_a_cell_s_counters_are_those_of_the_file(
    cell: Cell, benchmark: BenchmarkFixture, counting: Counting, book: Book
) -> None:
    counted = benchmark.pedantic(counting.of, args=(cell,), rounds=1, iterations=1)  # type: ignore[no-untyped-call]
    entered(benchmark, book, key(cell), counted)


@pytest.mark.parametrize("growth", OVER_LENGTH)
def test_exponents_over_length_are_those_of_the_file(
    growth: str, benchmark: BenchmarkFixture, counting: Counting, book: Book
) -> None:
    cells = [model(OVER_LENGTH[growth], length=length) for length in LENGTHS]
    counted = benchmark.pedantic(counting.exponents, args=(cells,), rounds=1, iterations=1)  # type: ignore[no-untyped-call]
    entered(benchmark, book, growth, counted)


def test_the_file_has_no_cell_that_is_no_longer_counted(book: Book) -> None:
    book.has_all_of([*map(key, CELLS), *OVER_LENGTH])
