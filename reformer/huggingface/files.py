"""Checkpoint folders in transformers' layout."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reformer.huggingface.settings import config_from_huggingface, their_fields
from reformer.huggingface.weights import HeadBias, architecture, assembled, missing, their_tensors
from reformer.model import ReformerLM
from reformer.trunk import Reformer


def load_huggingface(folder: str | Path, *, head_bias: HeadBias | None = None) -> ReformerLM | Reformer:
    """A model from a folder that transformers' `save_pretrained` wrote; transformers itself is not needed.

    The folder holds `config.json` and `model.safetensors`, or its parts with `model.safetensors.index.json`, or a
    pickled `pytorch_model.bin`, which is read as data only: a file that would execute code is refused.

    Args:
        folder: A local folder.
        head_bias: Needed only if the checkpoint has a head bias that is not zero, see `HeadBias`.

    Returns:
        A `ReformerLM`, or a `Reformer` for a checkpoint without a head; on the CPU, in the checkpoint's dtype, in
        evaluation mode.

    Raises:
        ValueError: A field cannot be converted, or a tensor is missing, superfluous or of a wrong shape.
        FileNotFoundError: The folder lacks a file.
        ImportError: safetensors is needed and not installed.
        pickle.UnpicklingError: A pickled file holds something else than tensors.
    """
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    return assembled(config_from_huggingface(config), _read_tensors(Path(folder)), head_bias).eval()


def save_huggingface(model: ReformerLM | Reformer, folder: str | Path) -> None:
    """Write a folder that `load_huggingface` and transformers' `from_pretrained` read.

    Args:
        model: What is written, in the dtype of its parameters; it is left as it is.
        folder: Made if there is none. Its `config.json` and `model.safetensors` are replaced.

    Raises:
        ValueError: transformers cannot express the model; names the field, its value and what would do.
        ImportError: safetensors is not installed.
        OSError: The folder cannot be made or written.
    """
    tensors, fields = their_tensors(model), their_fields(model)
    config = {"architectures": [architecture(model)], "model_type": "reformer", **fields}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    _safetensors().save_file(contiguous, Path(folder) / "model.safetensors", metadata={"format": "pt"})


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    whole, index, pickled = (
        folder / name for name in ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    )
    if whole.exists():
        return _read_safetensors(whole)
    if index.exists():
        parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return {name: tensor for part in parts for name, tensor in _read_safetensors(_beside(index, part)).items()}
    if pickled.exists():
        return _only_tensors(pickled, torch.load(pickled, map_location="cpu", weights_only=True))
    raise FileNotFoundError(f"{folder} holds none of {whole.name}, {index.name} and {pickled.name}")


def _only_tensors(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        return content
    raise ValueError(f"{path.name} holds something else than tensors by name; save a model's state_dict()")


def _beside(index: Path, part: str) -> Path:
    if Path(part).name != part:
        raise ValueError(f"{index.name} names the file {part!r}; parts lie beside it, in the same folder")
    return index.parent / part


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = _safetensors().load_file(path)
    return tensors


def _safetensors() -> Any:  # noqa: ANN401  (a module of an optional package)
    try:
        import safetensors.torch
    except ImportError as error:
        raise missing("safetensors", "huggingface") from error
    return safetensors.torch
