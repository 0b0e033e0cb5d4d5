"""Configurations are a fixed table, or what a file says that somebody measured."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from reformer.kernels import configurations
from reformer.kernels.configurations import TABLE, Configuration, Shape, configuration_for, read_table, write_table

SHAPE = Shape("forward", "sm_90", 64, 128, "half")
OTHER = Configuration(32, 32, 8, 3)


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    configurations._measured.cache_clear()
    yield
    configurations._measured.cache_clear()


def test_every_shape_has_a_configuration_that_fits_it() -> None:
    assert len(TABLE) == 2 * 2 * 4 * 4 * 2
    for shape, configuration in TABLE.items():
        assert 16 <= configuration.rows <= shape.chunk_tile
        assert 16 <= configuration.columns <= shape.chunk_tile


@pytest.mark.parametrize(
    ("capability", "chunk_len", "d_head", "dtype", "expected"),
    [
        ((9, 0), 64, 65, torch.bfloat16, SHAPE),
        ((8, 9), 1, 16, torch.float32, Shape("forward", "sm_80", 16, 16, "single")),
        ((10, 0), 1000, 33, torch.float16, Shape("forward", "sm_90", 128, 64, "half")),
    ],
)
def test_a_call_finds_its_shape(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    chunk_len: int,
    d_head: int,
    dtype: torch.dtype,
    expected: Shape,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    device = torch.device("cuda")
    found = configurations.shape_of("forward", device=device, chunk_len=chunk_len, d_head=d_head, dtype=dtype)
    assert found == expected
    assert found in TABLE


def test_a_file_replaces_single_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.json"
    write_table(path, {SHAPE: OTHER})
    assert read_table(path) == {SHAPE: OTHER}
    assert configuration_for(SHAPE) == TABLE[SHAPE]
    configurations._measured.cache_clear()
    monkeypatch.setenv("REFORMER_KERNEL_TABLE", str(path))
    assert configuration_for(SHAPE) == OTHER
    backward = SHAPE._replace(step="backward")
    assert configuration_for(backward) == TABLE[backward]
    # Read once: what happens to the file later changes nothing in this process.
    path.write_text("[]")
    assert configuration_for(SHAPE) == OTHER


@pytest.mark.parametrize("text", [None, "not json", '[{"shape": {"step": "forward"}}]', '{"shape": 1}', "7"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"^/.*/table.json is no table .*reformer.kernels.tuning.tune$"):
        read_table(path)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("step", "sideways", r"\['backward', 'forward'\]"),
        ("architecture", "sm_75", r"\['sm_80', 'sm_90'\]"),
        ("chunk_tile", 63, r"\[16, 32, 64, 128\]"),
        ("chunk_tile", "64", r"\[16, 32, 64, 128\]"),
        ("width_tile", [16], r"\[16, 32, 64, 128\]"),
        ("precision", "double", r"\['half', 'single'\]"),
        ("rows", 48, r"\(16, 32, 64\)"),
        ("rows", 128, r"\(16, 32, 64\)"),
        ("rows", 8, r"\(16, 32, 64\)"),
        ("rows", 32.0, r"\(16, 32, 64\)"),
        ("columns", 20, r"\(16, 32, 64\)"),
        ("columns", -1, r"\(16, 32, 64\)"),
        ("n_warps", 3, r"\(1, 2, 4, 8, 16\)"),
        ("n_warps", True, r"\(1, 2, 4, 8, 16\)"),
        ("n_stages", 0, r"range\(1, 9\)"),
        ("n_registers", 256, r"24\.\.255"),
    ],
)
def test_an_impossible_entry_is_refused_by_field_and_value(
    tmp_path: Path, field: str, value: object, allowed: str
) -> None:
    path, right, wrong = tmp_path / "table.json", entry(SHAPE, OTHER), entry(SHAPE, OTHER)
    part = next(part for part in wrong.values() if field in part)
    part[field] = value
    path.write_text(json.dumps([right, wrong]))
    says = rf"^/.*/table.json, entry 2: {field}=.* is not among {allowed}; write the file with"
    with pytest.raises(ValueError, match=says) as refusal:
        read_table(path)
    assert f"{field}={value!r} " in str(refusal.value)


def entry(shape: Shape, configuration: Configuration) -> dict[str, dict[str, Any]]:
    return {"shape": shape._asdict(), "configuration": configuration._asdict()}


def test_an_error_speaks_of_the_variable_where_that_named_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.json"
    path.write_text("not json")
    monkeypatch.setenv("REFORMER_KERNEL_TABLE", str(path))
    with pytest.raises(ValueError, match=r"^REFORMER_KERNEL_TABLE=/.*/table.json: .* or unset the variable$"):
        configuration_for(SHAPE)
    with pytest.raises(ValueError, match="no table") as refusal:
        read_table(path)
    assert "REFORMER_KERNEL_TABLE" not in str(refusal.value)


def test_every_entry_of_the_table_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_table(path, dict(TABLE))
    assert read_table(path) == TABLE


def test_entries_that_nobody_measured_are_the_same_for_every_architecture() -> None:
    for shape, configuration in TABLE.items():
        assert configuration == TABLE[shape._replace(architecture="sm_80")]
