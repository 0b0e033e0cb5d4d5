"""Models from and to transformers' models."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from reformer.config import ReformerConfig
from reformer.huggingface.names import HEAD, REFORMER, places
from reformer.huggingface.settings import check_expressible, config_from_huggingface, their_fields
from reformer.model import ReformerLM
from reformer.trunk import Reformer

HeadBias = Literal["add", "ignore"]
"""What to do with a head bias that is not zero: transformers 4 added it to the logits, transformers 5 ignores it."""

CONSTANTS = ("self_mask_value_float16", "self_mask_value_float32", "mask_value_float16", "mask_value_float32")
"""Constants that early versions of transformers stored with every attention layer."""

LINKED_BIAS = "lm_head.decoder.bias"
"""Another name that versions before 5 gave to the head's bias."""


def from_huggingface(model: nn.Module, *, head_bias: HeadBias | None = None) -> ReformerLM | Reformer:
    """A transformers model as ours: same weights, values and gradients; its dtype, device and mode.

    Args:
        model: `ReformerModelWithLMHead`, `ReformerForMaskedLM` or `ReformerModel`.
        head_bias: Needed only if the model has a head bias that is not zero, see `HeadBias`.

    Returns:
        A `ReformerLM`, or a `Reformer` for a model without a head.

    Raises:
        ValueError: A field of its config cannot be converted, or it has other parameters than such a model has.
    """
    if not hasattr(model, "config"):
        raise ValueError(f"model is a {type(model).__name__}; pass one of transformers' Reformer models")
    converted = assembled(config_from_huggingface(model.config), model.state_dict(), head_bias)
    return converted.train(model.training)


def to_huggingface(model: ReformerLM | Reformer) -> nn.Module:
    """A model as transformers': same weights, values and gradients; its dtype, device and mode.

    Args:
        model: What is converted; the result shares no memory with it.

    Returns:
        `ReformerModelWithLMHead`, `ReformerForMaskedLM` if it is not causal, or `ReformerModel` if it has no head.

    Raises:
        ValueError: transformers cannot express the model; names the field, its value and what would do.
        ImportError: transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise missing("transformers", "peers") from error
    tensors, fields = their_tensors(model), their_fields(model)
    # transformers draws initial weights from the global stream; these are to leave no trace there.
    with torch.random.fork_rng(devices=[]):
        built = getattr(transformers, architecture(model))(transformers.ReformerConfig(**fields))
    example = next(iter(tensors.values()))
    built.to(dtype=example.dtype, device=example.device)
    built.load_state_dict(tensors)
    converted: nn.Module = built.train(model.training)
    return converted


def architecture(model: ReformerLM | Reformer) -> str:
    """The class of transformers that the model becomes."""
    if isinstance(model, Reformer):
        return "ReformerModel"
    return "ReformerModelWithLMHead" if model.config.causal else "ReformerForMaskedLM"


def their_tensors(model: ReformerLM | Reformer) -> dict[str, Tensor]:
    """The model's parameters by their name there."""
    check_expressible(model)
    parameters = dict(model.named_parameters())
    return {place.name: parameters[name].detach().reshape(place.shape) for name, place in places(model).items()}


def assembled(config: ReformerConfig, given: Mapping[str, Tensor], head_bias: HeadBias | None) -> ReformerLM | Reformer:
    """A model of ours from tensors by their name there.

    Raises:
        ValueError: A tensor is missing, superfluous or of a wrong shape.
    """
    tensors = _current_names(given)
    kind = ReformerLM if any(name.startswith(REFORMER) for name in tensors) else Reformer
    model = kind(config, torch.Generator().manual_seed(0))
    place_of = places(model)
    _check_tensors({place.name: place.shape for place in place_of.values()}, tensors)
    example = tensors[place_of["trunk.embedding.weight" if kind is ReformerLM else "embedding.weight"].name]
    model.to(dtype=example.dtype, device=example.device)
    if isinstance(model, ReformerLM):
        tensors[HEAD["head.bias"]] = _chosen_bias(tensors[HEAD["head.bias"]], head_bias)
    ours = {name: tensors[place_of[name].name].reshape(parameter.shape) for name, parameter in model.named_parameters()}
    model.load_state_dict(ours)
    return model


def _current_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint of any version as the present version names them."""
    tensors = {name: tensor for name, tensor in given.items() if not name.endswith(CONSTANTS)}
    if LINKED_BIAS in tensors:
        linked = tensors.pop(LINKED_BIAS)
        if not torch.equal(tensors.setdefault(HEAD["head.bias"], linked), linked):
            raise ValueError(f"{LINKED_BIAS} and {HEAD['head.bias']} are one tensor, but have different values")
    return tensors


def _check_tensors(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
    for name in sorted(found.keys() - expected.keys()):
        raise ValueError(
            f"tensor {name} of shape {list(found[name].shape)} has no place in a Reformer, with language modelling "
            "head or without, of this config; use the config and the kind of model that belong to these weights"
        )
    for name, shape in expected.items():
        if name not in found:
            raise ValueError(f"tensor {name} of shape {list(shape)} is missing; the config does not fit these weights")
        if found[name].shape != shape:
            raise ValueError(
                f"tensor {name} has shape {list(found[name].shape)}, but the config makes it {list(shape)}; "
                "use the config that belongs to these weights"
            )


def _chosen_bias(bias: Tensor, head_bias: HeadBias | None) -> Tensor:
    if not bias.any() or head_bias == "add":
        return bias
    if head_bias is None:
        raise ValueError(
            f"lm_head.bias is not zero (up to {bias.abs().max().item():.3g}): transformers before 5 added it to the "
            "logits, transformers 5 ignores it; choose with head_bias='add' or head_bias='ignore'"
        )
    return torch.zeros_like(bias)


def missing(package: str, extra: str) -> ImportError:
    """The error for an optional package that is not installed."""
    return ImportError(f"this needs {package}: pip install 'reformer-suite[{extra}]'")
