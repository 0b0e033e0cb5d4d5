"""`pytest tests/performance --update-counters` writes what was counted over the committed file, for review.

The option is known only where this folder is named on the command line. Anywhere else nothing is rewritten.
"""

from collections.abc import Iterator

import pytest

from ablations.harness.runner import Runner
from tests.harness.cells import here
from tests.performance import kept
from tests.performance.book import Book
from tests.performance.counting import Counting

OPTION = "--update-counters"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="Write the counters over the committed file, for review.")


@pytest.fixture(scope="session")
def counting() -> Iterator[Counting]:
    with Runner(here()) as runner:
        yield Counting(runner)


@pytest.fixture(scope="session")
def book(request: pytest.FixtureRequest) -> Iterator[Book]:
    one = Book(kept.FILE, updating=bool(request.config.getoption(OPTION, default=False)))
    yield one
    one.close()
