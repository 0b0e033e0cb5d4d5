"""A language model as one graph without randomness or gradients, for `torch.compile` and `torch.export`.

graph = torch.compile(InferenceModel(model, seed=0), fullgraph=True)
program = torch.export.export(InferenceModel(model, seed=0), (token_BL,))
"""

import torch
from torch import Tensor, nn

from reformer.blocks import Call
from reformer.model import ReformerLM


class InferenceModel(nn.Module):
    """A language model in evaluation mode whose hashing is fixed once: `model.eval()(token_BL, seed=seed)` every time.

    Weights are the model's own, not copies, and what mode the model is in does not matter. Rotations are buffers, and
    not part of the state.

    Args:
        model: Without cross-attention.
        seed: What the rotations are drawn from.

    Raises:
        ValueError: The model has cross-attention, or a layer hashes and `seed` is no whole number.
    """

    def __init__(self, model: ReformerLM, seed: int) -> None:
        super().__init__()
        if model.config.cross_attention:
            raise ValueError(
                "model.config.cross_attention=True, but an InferenceModel passes no encoder's output on; "
                "call the model itself"
            )
        self.model = model
        self._call = Call(seed, training=False)
        for depth, block in enumerate(model.trunk.layers):
            rotation_HRKN = block.rotation(self._call)
            # A buffer that is None makes torch.export miscount.
            if rotation_HRKN is not None:
                self.register_buffer(_name(depth), rotation_HRKN, persistent=False)

    def forward(self, token_BL: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Logits at each position, logit_BLV, without gradients; arguments and errors as in `Reformer.forward`."""
        trunk = self.model.trunk
        rotations = [getattr(self, _name(depth), None) for depth in range(len(trunk.layers))]
        with torch.no_grad():
            call = self._call._replace(valid_BL=valid_BL)
            trunk.check(token_BL, call, rotations)
            hidden_BLD = trunk.run(token_BL, call, rotations)
            logit_BLV: Tensor = self.model.head(hidden_BLD)
        return logit_BLV


def _name(depth: int) -> str:
    return f"rotation_{depth}"
