"""Configurations are a fixed table, or what a file says that somebody measured."""

from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.parametrize(
    "text",
    [
        None,
        "not json",
        '[{"shape": {"step": "forward"}, "configuration": {}}]',
        '{"shape": 1}',
        '[{"shape": {"step": "forward", "architecture": "sm_90", "chunk_tile": 63, "width_tile": 64, "precision": '
        '"half"}, "configuration": {"rows": 16, "columns": 16, "n_warps": 4, "n_stages": 2}}]',
        '[{"shape": {"step": "forward", "architecture": "sm_90", "chunk_tile": 64, "width_tile": 64, "precision": '
        '"half"}, "configuration": {"rows": 16, "columns": -1, "n_warps": 4, "n_stages": 2}}]',
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"REFORMER_KERNEL_TABLE=.*table.json.*reformer.kernels.tuning.tune"):
        read_table(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to measure on")
def test_tuning_needs_a_gpu(tmp_path: Path) -> None:
    from reformer.kernels.tuning import tune

    with pytest.raises(RuntimeError, match="tuning measures on a CUDA device"):
        tune(tmp_path / "table.json")
    assert not list(tmp_path.iterdir())
