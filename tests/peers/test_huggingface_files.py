"""Checkpoint folders: what transformers writes we read, what we write transformers reads, and nothing else is read."""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import ReformerForMaskedLM, ReformerForSequenceClassification, ReformerModel, ReformerModelWithLMHead

from reformer.huggingface import (
    from_huggingface,
    load_huggingface,
    rotations_like_huggingface,
    save_huggingface,
    to_huggingface,
)
from reformer.model import ReformerLM
from reformer.trunk import Reformer
from tests.peers import theirs

KINDS = [ReformerModelWithLMHead, ReformerForMaskedLM, ReformerModel]


def saved(folder: Path, kind: Any = ReformerModelWithLMHead, **how: Any) -> Any:  # noqa: ANN401  (a class of theirs)
    config = theirs.config(attn_layers=["local", "lsh"], num_buckets=[2, 4], is_decoder=kind != ReformerForMaskedLM)
    model = theirs.built(kind, config, dtype=torch.float32)
    model.save_pretrained(folder, **how)
    return model


def assert_same_weights(one: ReformerLM | Reformer, other: ReformerLM | Reformer) -> None:
    assert type(one) is type(other)
    assert one.config == other.config
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_transformers_saved_loads_as_the_model_that_it_saved(tmp_path: Path, kind: type) -> None:
    model = saved(tmp_path, kind)
    loaded = load_huggingface(tmp_path)
    assert not loaded.training
    assert_same_weights(loaded, from_huggingface(model))


def test_a_checkpoint_in_several_files_loads_as_one(tmp_path: Path) -> None:
    model = saved(tmp_path, max_shard_size="5KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same_weights(load_huggingface(tmp_path), from_huggingface(model))


def test_an_index_that_points_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, max_shard_size="5KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = dict.fromkeys(content["weight_map"], "../elsewhere.safetensors")
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"'../elsewhere.safetensors'; parts lie beside it"):
        load_huggingface(tmp_path)


def pickled(folder: Path, tensors: object) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")


def test_a_pickled_checkpoint_of_an_early_version_loads(tmp_path: Path) -> None:
    model = saved(tmp_path)
    constants = {
        f"reformer.encoder.layers.{layer}.attention.self_attention.{name}": torch.tensor(-1e9)
        for layer, name in [(0, "mask_value_float32"), (1, "self_mask_value_float16")]
    }
    linked = {"lm_head.decoder.bias": model.lm_head.bias.detach()}
    pickled(tmp_path, {**model.state_dict(), **constants, **linked})
    assert_same_weights(load_huggingface(tmp_path), from_huggingface(model))


def test_a_head_bias_under_its_other_name_is_the_head_s(tmp_path: Path) -> None:
    model = saved(tmp_path)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.bias"}
    pickled(tmp_path, {**tensors, "lm_head.decoder.bias": torch.full((theirs.VOCABULARY,), 0.5)})
    with pytest.raises(ValueError, match=r"lm_head.bias is not zero \(up to 0.5\)"):
        load_huggingface(tmp_path)
    loaded = load_huggingface(tmp_path, head_bias="add")
    assert isinstance(loaded, ReformerLM)
    assert torch.equal(loaded.head.bias, torch.full((theirs.VOCABULARY,), 0.5))
    pickled_twice = {**model.state_dict(), "lm_head.decoder.bias": torch.ones(theirs.VOCABULARY)}
    torch.save(pickled_twice, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="one tensor, but have different values"):
        load_huggingface(tmp_path)


class Intruder:
    """Pickled, it runs a command when it is read."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.proof),)


def test_a_pickled_file_that_would_execute_code_is_refused_and_executes_none(tmp_path: Path) -> None:
    saved(tmp_path)
    pickled(tmp_path, {"lm_head.bias": Intruder(tmp_path / "proof")})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        load_huggingface(tmp_path)
    assert not (tmp_path / "proof").exists()


def test_a_pickled_file_of_something_else_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    pickled(tmp_path, {"epoch": 3})
    with pytest.raises(ValueError, match="something else than tensors by name"):
        load_huggingface(tmp_path)


def rewritten(folder: Path, change: dict[str, Tensor | None]) -> None:
    tensors = load_file(folder / "model.safetensors") | change
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reformer.encoder.layers.1.attention.self_attention.query_key.weight": torch.zeros(15, 13)},
            r"tensor reformer.encoder.layers.1.attention.self_attention.query_key.weight has shape \[15, 13\], "
            r"but the config makes it \[15, 14\]",
        ),
        (
            {"reformer.embeddings.position_embeddings.weights.1": torch.zeros(6, 1, 9)},
            r"weights.1 has shape \[6, 1, 9\], but the config makes it \[1, 6, 9\]",
        ),
        (
            {"reformer.encoder.layer_norm.bias": None},
            r"tensor reformer.encoder.layer_norm.bias of shape \[28\] is miss",
        ),
        (
            {"reformer.pooler.weight": torch.zeros(2, 3)},
            r"tensor reformer.pooler.weight of shape \[2, 3\] has no place",
        ),
    ],
    ids=["shape", "axial shape", "missing", "unexpected"],
)
def test_a_tensor_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    saved(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        load_huggingface(tmp_path)


def test_a_checkpoint_with_another_head_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, ReformerForSequenceClassification)
    with pytest.raises(ValueError, match=r"tensor classifier\.dense\.bias of shape"):
        load_huggingface(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_huggingface(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_we_saved_is_read_by_transformers(tmp_path: Path, kind: Any) -> None:  # noqa: ANN401
    model = saved(tmp_path / "theirs", kind)
    ours = load_huggingface(tmp_path / "theirs")
    save_huggingface(ours, tmp_path / "ours")
    with torch.random.fork_rng(devices=[]):
        read = kind.from_pretrained(tmp_path / "ours")
    assert read.state_dict().keys() == model.state_dict().keys()
    for name, tensor in read.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert_same_weights(load_huggingface(tmp_path / "ours"), ours)


def test_half_precision_stays(tmp_path: Path) -> None:
    saved(tmp_path)
    loaded = load_huggingface(tmp_path).to(torch.bfloat16)
    save_huggingface(loaded, tmp_path)
    again = load_huggingface(tmp_path)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    assert_same_weights(again, loaded)


def test_what_is_not_installed_is_named_with_the_extra_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    loaded = load_huggingface(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs transformers: pip install 'reformer-suite\[peers\]'"):
        to_huggingface(loaded)
    assert_same_weights(load_huggingface(tmp_path), loaded)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ImportError, match=r"needs safetensors: pip install 'reformer-suite\[huggingface\]'"):
        load_huggingface(tmp_path)


def test_rotations_are_theirs_and_the_global_stream_stays() -> None:
    model = from_huggingface(theirs.built(ReformerModel, theirs.config(attn_layers=["local", "lsh", "lsh"])))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(theirs.HASH_SEED)
        drawn_HKRN = torch.randn(theirs.HEADS, theirs.HEAD_WIDTH, 3, 3)
        state = torch.get_rng_state()
        local, first, second = rotations_like_huggingface(model.config, theirs.HASH_SEED)
        assert torch.equal(torch.get_rng_state(), state)
    assert local is None
    assert first is not None
    assert second is not None
    assert torch.equal(first, drawn_HKRN.transpose(1, 2))
    assert torch.equal(second, first)
