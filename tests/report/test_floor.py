"""What tables say of a time and its floor."""

from ablations.harness.work import Ceiling, Work
from ablations.report.floor import floor_cells

CEILING = Ceiling({"float32": 100.0}, bytes_per_second=10.0)


def test_a_time_is_set_against_floor_and_fastest_product() -> None:
    assert floor_cells(12.0, Work(300, 20), "float32", CEILING) == ("3.00 s", "4.00 x", "25.0 %", "compute")
    assert floor_cells(10.0, Work(300, 50), "float32", CEILING) == ("5.00 s", "2.00 x", "30.0 %", "memory")


def test_a_time_below_its_floor_is_marked() -> None:
    assert floor_cells(4.0, Work(300, 50), "float32", CEILING) == ("5.00 s", "0.800 x ‼", "75.0 %", "memory")


def test_what_has_no_result_still_has_a_floor() -> None:
    assert floor_cells(None, Work(300, 50), "float32", CEILING) == ("5.00 s", "—", "—", "memory")


def test_there_is_no_floor_without_a_ceiling_of_that_type_and_none_of_nothing() -> None:
    for dtype, ceiling in (("float32", None), ("float16", CEILING)):
        assert floor_cells(3.0, Work(300, 50), dtype, ceiling) == ("—", "—", "—", "—")
    assert floor_cells(3.0, Work(0, 0), "float32", CEILING) == ("—", "—", "—", "—")
