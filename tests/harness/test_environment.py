"""What is said of this machine."""

from pathlib import Path

import pytest

from ablations.harness.environment import cores, describe, device_here
from ablations.harness.errors import UserError


def test_a_machine_keeps_its_name_and_shares_it_with_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter(("0a1b", "2c3d"))
    monkeypatch.setattr("ablations.harness.environment.secrets.token_hex", lambda _n_bytes: next(draws))
    names = []
    for cache in ("one", "one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        names.append(describe("cpu").machine)
    assert names[0] == names[1]
    assert names[0].endswith(f"-{cores()}-cores-0a1b")
    assert names[2] == names[0].replace("0a1b", "2c3d")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Cannot write .*machine.*XDG_CACHE_HOME"):
        describe("cpu")


def test_the_environment_says_what_made_a_figure() -> None:
    environment = describe("cpu")
    assert environment.packages["torch"].startswith("2.")
    assert environment.memory_bytes > 2**30
    assert environment.processor
    assert environment.accelerator is None


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_used(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert device_here() == "cpu"
