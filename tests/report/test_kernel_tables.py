"""Parts of a step against their floors."""

from collections.abc import Mapping
from typing import Any

import pytest

from ablations.harness.measure.kernels import _sums
from ablations.harness.measurement import KernelSeconds, KernelTime
from ablations.harness.work import Ceiling, Work, lsh_parts
from ablations.report.groups import attempts_of
from ablations.report.kernel_tables import PART_OF, kernel_tables, part_of
from ablations.report.table import Table
from reformer.config import LSHAttention
from tests.report.contenders import contender, kernels_cell
from tests.report.records import record

SCAN = "void at::native::tensor_kernel_scan_innermost_dim<int, std::plus<int> >(int*, int const*, unsigned int)"
CELL = kernels_cell(contender("ours", n_hashes=1))


def parts() -> Mapping[str, Work]:
    (attention,) = {one for one in CELL.config.attentions if isinstance(one, LSHAttention)}
    return lsh_parts(CELL, attention)


def table_of(found: KernelSeconds, ceiling: Ceiling) -> Table:
    attempts = attempts_of([CELL], [record(CELL).model_copy(update={"measurement": found})])
    (table,) = kernel_tables(attempts, ceiling)
    return table


def test_kernels_are_summed_by_part_and_step() -> None:
    found = KernelSeconds(
        kernels=(
            KernelTime(name="attend_kernel", calls=5, seconds=10.0),
            KernelTime(name="count_kernel", calls=5, seconds=0.5),
            KernelTime(name="place_kernel", calls=10, seconds=0.25),
            KernelTime(name=SCAN, calls=5, seconds=0.25),
            KernelTime(name="void at::native::fill(int)", calls=5, seconds=0.1),
        ),
        steps=5,
    )
    floor = parts()["forward"].flops * 512 * 5
    table = table_of(found, Ceiling({"float32": floor}, 1e30))
    assert [row.cells[:3] for row in table.rows] == [
        ("sort", "4.00", "200 ms"),
        ("forward", "1.00", "2.00 s"),
        ("other", "1.00", "20.0 ms"),
    ]
    assert table.rows[1].cells[3:] == ("1.00 s", "2.00 x", "50.0 %", "compute")
    assert "void at::native::fill" in table.notes[0]


def test_a_part_that_took_less_than_its_floor_is_marked() -> None:
    found = KernelSeconds(kernels=(KernelTime(name="hash_kernel", calls=2, seconds=1.0),), steps=2)
    bytes_moved = parts()["hash"].bytes * 512 * 5
    below, above = (table_of(found, Ceiling({"float32": 1e30}, bytes_moved * factor)) for factor in (1.0, 4.0))
    assert below.rows[0].cells[3:] == ("1.00 s", "0.500 x ‼", "0 %", "memory")
    assert "Below the floor: check" in below.notes[-1]
    assert above.rows[0].cells[3:] == ("250 ms", "2.00 x", "0 %", "memory")
    assert len(above.notes) == 1


def test_every_part_has_a_kernel() -> None:
    assert set(PART_OF.values()) == set(parts())


@pytest.mark.parametrize(
    ("kernel", "part"),
    [
        (SCAN, "sort"),
        ("void at_cuda_detail::cub::DeviceScanKernel<int>(int*)", "sort"),
        ("row_terms_kernel", "rows"),
        ("void at::native::vectorized_elementwise_kernel<4>(int)", "other"),
    ],
)
def test_the_sort_s_cumulative_sum_is_part_of_sorting(kernel: str, part: str) -> None:
    assert part_of(kernel) == part


def test_only_what_runs_on_the_device_counts() -> None:
    events: list[dict[str, Any]] = [
        {"cat": "kernel", "name": "a", "dur": 3.0},
        {"cat": "cpu_op", "name": "aten::mm", "dur": 99.0},
        {"cat": "kernel", "name": "b", "dur": 7.0},
        {"cat": "kernel", "name": "a", "dur": 1.0},
        {"name": "[memory]"},
    ]
    assert _sums(events) == (
        KernelTime(name="b", calls=1, seconds=7e-6),
        KernelTime(name="a", calls=2, seconds=4e-6),
    )
