"""Parts of a step against their floors."""

from typing import Any

from ablations.harness.measure.kernels import _sums
from ablations.harness.record import KernelSeconds, KernelTime
from ablations.report.floor import Ceiling, lsh_parts
from ablations.report.groups import attempts_of
from ablations.report.kernel_tables import PART_OF, kernel_tables
from reformer.config import LSHAttention
from tests.report.contenders import contender, kernels_cell
from tests.report.records import record


def test_kernels_are_summed_by_part_and_step() -> None:
    one = kernels_cell(contender("ours", n_hashes=1))
    found = KernelSeconds(
        kernels=(
            KernelTime(name="attend_kernel", calls=5, seconds=10.0),
            KernelTime(name="count_kernel", calls=5, seconds=0.5),
            KernelTime(name="place_kernel", calls=10, seconds=0.25),
            KernelTime(name="void at::native::fill(int)", calls=5, seconds=0.1),
        ),
        steps=5,
    )
    floor = lsh_parts(LSHAttention(n_hashes=1, n_buckets=(16,)), 20, 4)["forward"].flops * 512 * 5
    attempts = attempts_of([one], [record(one).model_copy(update={"measurement": found})])
    (table,) = kernel_tables(attempts, Ceiling({"float32": floor}, 1e30))
    assert [row.cells[:3] for row in table.rows] == [
        ("sort", "3.00", "150 ms"),
        ("forward", "1.00", "2.00 s"),
        ("other", "1.00", "20.0 ms"),
    ]
    assert table.rows[1].cells[3:] == ("1.00 s", "2.00 x")
    assert "void at::native::fill" in table.notes[0]


def test_every_part_has_a_kernel() -> None:
    assert set(PART_OF.values()) == set(lsh_parts(LSHAttention(n_buckets=(16,)), 20, 4))


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
