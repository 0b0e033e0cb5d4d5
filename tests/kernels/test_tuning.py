"""Tuning keeps what it measured, and replaces the default only by what is clearly faster."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from triton.errors import TritonError
from triton.runtime.errors import OutOfResources, PTXASError

from reformer.kernels import tuning
from reformer.kernels.configurations import TABLE, Configuration, Shape, configuration_for, read_table, write_table

FORWARD = Shape("forward", "sm_90", 64, 32, "half")
BACKWARD = FORWARD._replace(step="backward")
DEFAULT = TABLE[FORWARD]
OTHER, THIRD, FOURTH, FIFTH = [one for one in tuning.CANDIDATES if one != DEFAULT and max(one[:2]) <= 64][:4]


def measured(shape: Shape, found: Mapping[Configuration, float | Exception]) -> tuning.Tuned:
    """As if the kernels took these milliseconds, or could not be made; all others take two."""

    def milliseconds(call: tuning.Call) -> float:
        call()
        one = found.get(configuration_for(shape), 2.0)
        if isinstance(one, Exception):
            raise one
        return one

    return tuning._measured(shape, lambda: None, milliseconds)


@pytest.mark.parametrize(("faster", "best"), [(0.98, DEFAULT), (0.95, OTHER)])
def test_the_default_is_replaced_only_by_what_is_clearly_faster(faster: float, best: Configuration) -> None:
    found = measured(FORWARD, {DEFAULT: 1.0, OTHER: faster})
    assert found.best == best
    assert found.gain == pytest.approx(1.0 if best == DEFAULT else 1 / faster)
    assert f"{found.milliseconds[best]:.4f} ms" in str(found)


def test_only_tiles_that_fit_the_chunk_are_measured() -> None:
    found = measured(FORWARD._replace(chunk_tile=32), {})
    assert len(found.milliseconds) > 4
    assert all(max(one.rows, one.columns) <= 32 for one in found.milliseconds)


def test_what_cannot_be_made_is_skipped_by_name_and_reason() -> None:
    faults = {
        OTHER: OutOfResources(300_000, 232_448, "shared memory"),
        THIRD: PTXASError("`ptxas` failed with error code 1\nand more"),
        FOURTH: TritonError("no such layout"),
        FIFTH: RuntimeError("PassManager::run failed"),
    }
    found = measured(FORWARD, {DEFAULT: 1.0, **faults})
    assert found.best == DEFAULT
    assert set(found.skipped) == set(faults)
    assert not set(found.skipped) & set(found.milliseconds)
    for configuration, fault in faults.items():
        assert f"skipped {configuration}: {type(fault).__name__}: " in str(found)
    assert len(str(found).splitlines()) == 1 + len(faults)


def test_a_default_that_cannot_be_made_has_no_gain_over_it() -> None:
    found = measured(FORWARD, {DEFAULT: PTXASError("no"), OTHER: 1.5})
    assert (found.best, found.gain) == (OTHER, None)
    assert "the default was skipped" in str(found)


def test_a_fault_of_the_device_is_not_skipped() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"):
        measured(FORWARD, {THIRD: RuntimeError("CUDA error: an illegal memory access was encountered")})


def test_where_nothing_can_be_made_the_reasons_are_named() -> None:
    nothing = dict.fromkeys((DEFAULT, *tuning.CANDIDATES), PTXASError("too old"))
    with pytest.raises(RuntimeError, match=r"no configuration of Shape.*too old.*use backend='blocked'"):
        measured(FORWARD, nothing)


def test_whoever_runs_out_of_time_keeps_what_was_measured_and_goes_on_from_there(tmp_path: Path) -> None:
    path, calls = tmp_path / "table.json", dict.fromkeys((FORWARD, BACKWARD), lambda: None)
    elsewhere = FORWARD._replace(width_tile=128)
    write_table(path, {elsewhere: THIRD})
    said: list[str] = []

    def cut_short(_: tuning.Call) -> float:
        if configuration_for(BACKWARD) != TABLE[BACKWARD]:
            raise KeyboardInterrupt
        return 1.0 if configuration_for(FORWARD) == OTHER else 2.0

    with pytest.raises(KeyboardInterrupt):
        tuning._tuned(path, calls, cut_short, said.append)
    assert read_table(path) == {elsewhere: THIRD, FORWARD: OTHER}
    assert len(said) == 1
    assert f"{FORWARD} {OTHER}: 1.0000 ms, the default takes 2.000 times as long" in said[0]

    found = tuning._tuned(path, calls, lambda _: 1.0, said.append)
    assert [str(shape) in line for shape, line in zip((BACKWARD, FORWARD), said[1:], strict=True)] == [True, True]
    assert read_table(path) == {elsewhere: THIRD, FORWARD: found[FORWARD].best, BACKWARD: found[BACKWARD].best}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_tuning_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="tuning measures on a CUDA device"):
        tuning.tune(tmp_path / "table.json")
    assert not list(tmp_path.iterdir())
