"""No record claims more than the machine can do."""

from typing import Any

import pytest

from ablations.harness.cell import Ceiling, Cell, TimeStep
from ablations.harness.measurement import Ceilings, MatrixProducts
from ablations.harness.plausible import BYTES_SLACK, OPERATIONS_SLACK, Judge
from ablations.harness.record import Environment, Record
from ablations.harness.work import work_of

from .cells import cell, here, record

WORKLOAD = Ceiling(widths=(100,), copy_bytes=1000)
STEP: Cell = cell(workload=TimeStep(mode="forward_backward"))
FLOPS, BYTES = work_of(STEP)
RATE = 2 * 100.0**3
"""Operations a second of a ceiling whose product of width 100 takes a second."""


@pytest.fixture(scope="module")
def environment() -> Environment:
    return here()


def ceilings(environment: Environment, *, product: float = 1.0, copy: float = 1.0, **changes: Any) -> Record:  # noqa: ANN401
    """Products of 2e6 operations in `product` seconds, copies of 1,000 bytes in `copy` seconds."""
    size = changes.pop("copy_bytes", 1000)
    found = Ceilings(
        products=(MatrixProducts(width=100, seconds=(product, 2 * product)),),
        copy_bytes=size,
        copy_seconds=(copy * size / 1000, 3 * copy * size / 1000),
        threads=2,
    )
    return record(cell(scope="machine", workload=WORKLOAD, **changes), environment, measurement=found)


def taking(seconds: float, environment: Environment, of: Cell = STEP) -> Record:
    """A record whose fastest step took so long."""
    plain = record(of, environment)
    times = plain.measurement
    assert times is not None
    return plain.model_copy(update={"measurement": times.model_copy(update={"wall_seconds": (9e9, seconds, 9e9)})})


def test_a_rate_above_the_matrix_ceiling_is_an_error_that_names_both(environment: Environment) -> None:
    judge = Judge([ceilings(environment, copy=1e-9)])
    least = FLOPS / RATE
    believable, impossible = (taking(least / OPERATIONS_SLACK * f, environment) for f in (1.001, 0.999))
    assert judge.judged(believable) is believable
    judged = judge.judged(impossible)
    assert (judged.status, judged.measurement, judged.cell_id) == ("error", None, impossible.cell_id)
    assert judged.reason is not None
    assert f"{RATE:.3g} FLOP/s" in judged.reason
    assert f"{FLOPS / (least / OPERATIONS_SLACK * 0.999):.3g} FLOP/s in float32" in judged.reason


def test_bytes_are_judged_where_they_cannot_lie_in_a_cache(environment: Environment) -> None:
    fast = {"product": 1e-12, "copy": 1.0}
    least = BYTES / 2000 / BYTES_SLACK
    large = Judge([ceilings(environment, copy_bytes=int(BYTES), **fast)])
    small = Judge([ceilings(environment, copy_bytes=int(BYTES) + 1, **fast)])
    believable, impossible = (taking(least * factor, environment) for factor in (1.001, 0.999))
    assert large.judged(believable) is believable
    reason = large.judged(impossible).reason
    assert reason is not None
    assert "bytes/s, and the fastest copy on this machine reached 2e+03 bytes/s" in reason
    assert small.judged(impossible) is impossible


def test_the_best_ceiling_counts_and_one_that_was_just_judged_counts_too(environment: Environment) -> None:
    judge = Judge([ceilings(environment, product=50.0, copy=1e-9)])
    fast = taking(FLOPS / RATE, environment)
    assert judge.judged(fast).status == "error"
    better = ceilings(environment, product=1.0, copy=1e-9)
    assert judge.judged(better) is better
    assert judge.judged(fast) is fast


@pytest.mark.parametrize("other", ["dtype", "machine", "none"])
def test_a_record_stays_where_no_ceiling_of_its_kind_is_known(other: str, environment: Environment) -> None:
    elsewhere = environment.model_copy(update={"machine": "another"})
    known = {
        "dtype": [ceilings(environment, dtype="bfloat16", copy=1e-9)],
        "machine": [ceilings(elsewhere)],
        "none": [],
    }[other]
    one = taking(FLOPS / RATE / 9, environment)
    assert Judge(known).judged(one) is one


def test_a_step_that_took_no_time_is_an_error(environment: Environment) -> None:
    judged = Judge([ceilings(environment)]).judged(taking(0.0, environment))
    assert judged.status == "error"
    assert "clock" in str(judged.reason)


def test_a_gpu_s_own_clock_is_judged_and_not_the_host_s(environment: Environment) -> None:
    judge = Judge([ceilings(environment, copy=1e-9)])
    one = taking(FLOPS / RATE, environment)
    assert one.measurement is not None
    fast = one.model_copy(
        update={"measurement": one.measurement.model_copy(update={"device_seconds": (FLOPS / RATE / 2,)})}
    )
    assert judge.judged(one) is one
    assert judge.judged(fast).status == "error"


def test_whatever_is_no_time_stays(environment: Environment) -> None:
    failed = record(STEP, environment, status="oom", reason="too much", measurement=None)
    judge = Judge([ceilings(environment)])
    assert judge.judged(failed) is failed
    assert judge.judged(ceilings(environment)).status == "ok"
