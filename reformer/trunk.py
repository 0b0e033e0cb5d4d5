"""The layers with their embedding: an encoder, or a language model without its head."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from reformer.blocks import Block, Call, Memory
from reformer.checks import check_fused_type, check_mask, check_parameter_type, check_seed, check_state, check_tokens
from reformer.config import FusedAttention, LSHAttention, ReformerConfig
from reformer.functional.scores import widened
from reformer.layers import Embedding, StreamNorm
from reformer.positions import build_positions
from reformer.residual import stack_for, summing
from reformer.reversible import Layer
from reformer.reversible_modules import relative, undoing_errors

Rotations = Sequence[Tensor | None]
"""What each layer hashes against, rotation_HRKN, N half the sum of the factors of its bucket count; `None` for a layer
that does not hash."""


class Reformer(nn.Module):
    """Embedding, positions, layers and a last normalisation: an encoder, or a language model without its head.

    Attention is the paper's section 2, the chaining of layers its section 3; which of both, the config says.
    Whether positions see the future, and whether layers read an encoder's output, is in the config. All parameters are
    drawn from `generator`; the global random stream is neither read nor moved. Residual streams are float32 at least,
    whatever the type of the parameters.

    Args:
        config: The model; kept as `config`.
        generator: On the CPU; all parameters are drawn from it, in their order.

    Raises:
        ValueError: An LSH attention has no bucket count, since the config was copied and not checked again. Later, from
            `load_state_dict`: a tensor has another shape than the config gives it; names it.
    """

    def __init__(self, config: ReformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.positions = build_positions(config)
        self.blocks = nn.ModuleList(
            Block(config, attention, depth) for depth, attention in enumerate(config.attentions)
        )
        self.norm = StreamNorm(config.d_merged, eps=config.norm_epsilon)
        self.stack = stack_for(config)
        self.register_load_state_dict_pre_hook(check_state)  # type: ignore[no-untyped-call]
        self._initialise(generator)

    def forward(
        self,
        token_BL: Tensor,
        *,
        seed: int,
        valid_BL: Tensor | None = None,
        memory: Memory | None = None,
        rotations: Rotations | None = None,
    ) -> Tensor:
        """The normalised streams after the last layer, merged.

        Args:
            token_BL: int64 token ids; any length from 1 to `config.max_len`, without padding by the caller.
            seed: Everything random in this call, hashing and dropout, follows from it. Give every training step its
                own.
            valid_BL: bool, false where a position is padding: nobody sees it, and what it holds changes no other
                position. What comes out at its place means nothing.
            memory: An encoder's output, exactly if `config.cross_attention`.
            rotations: What each layer hashes against, in place of what would be drawn from the seed.

        Returns:
            hidden_BLD, or of width 2 D if `config.merge` is "concatenate", in the type of the parameters.

        Raises:
            ValueError: An argument is not as described; names it.
        """
        call = Call(seed, self.training, valid_BL, memory)
        self.check(token_BL, call, rotations)
        return self.run(token_BL, call, rotations)

    def run(self, token_BL: Tensor, call: Call, rotations: Rotations | None = None) -> Tensor:
        """What `forward` returns, for arguments that were checked."""
        layers = [
            block.bound(call, None if rotations is None else rotations[depth])
            for depth, block in enumerate(self.layers)
        ]
        return self.through(layers, token_BL, torch.arange(token_BL.shape[1], device=token_BL.device))

    def through(self, layers: Sequence[Layer], token_BL: Tensor, position: Tensor) -> Tensor:
        """Tokens at their positions, [L] or [B, L], through layers bound to one call, to hidden_BLD."""
        hidden_BLD: Tensor = self.norm(self.stack(layers, self.embedded(token_BL, position)))
        return hidden_BLD

    def embedded(self, token_BL: Tensor, position: Tensor) -> Tensor:
        """What both streams hold before the first layer, in float32 at least, on no grid yet."""
        return widened(self.embedding(token_BL) + self.positions(position))

    @property
    def layers(self) -> Sequence[Block]:
        """The layers, first to last."""
        return cast(Sequence[Block], self.blocks)

    def rotations(self, seed: int) -> list[Tensor | None]:
        """What each layer hashes against in a call with this seed, as `forward` takes it.

        Args:
            seed: Of the call.

        Returns:
            rotation_HRKN for each LSH layer, float32 on the CPU, with the rounds R of the present mode; `None` for each
            other layer.

        Raises:
            ValueError: A layer hashes and `seed` is no whole number.
        """
        return [block.rotation(Call(seed, self.training)) for block in self.layers]

    def check(self, token_BL: Tensor, call: Call, rotations: Rotations | None = None) -> None:
        """The arguments are as `forward` takes them.

        Raises:
            ValueError: They are not; names the argument.
        """
        check_seed("seed", call.seed)
        self.check_sequence(token_BL, call.valid_BL)
        self.check_memory(call.memory, token_BL.shape[0])
        if rotations is not None:
            self._check_rotations(rotations, call.training)

    def check_sequence(
        self, token_BL: Tensor, valid_BL: Tensor | None, names: tuple[str, str] = ("token_BL", "valid_BL")
    ) -> None:
        """Tokens and their mask are as `forward` takes them; `names` is what the caller calls them.

        Raises:
            ValueError: They are not; names the argument.
        """
        config = self.config
        check_parameter_type(self.embedding.weight.dtype)
        check_tokens(names[0], token_BL, vocab_size=config.vocab_size, max_len=config.max_len)
        check_mask(names[1], valid_BL, token_BL.shape)
        if not any(isinstance(attention, FusedAttention) for attention in config.attentions):
            return
        check_fused_type(self.embedding.weight)
        if valid_BL is not None:
            raise ValueError(
                f"{names[1]} cannot be given to fused attention, which takes no mask; use kind 'dense_query_chunked'"
            )

    def _check_rotations(self, rotations: Rotations, training: bool) -> None:
        config = self.config
        if len(rotations) != config.n_layers:
            raise ValueError(
                f"rotations has {len(rotations)} entries, but the model has {config.n_layers} layers; give one for each"
            )
        for depth, (attention, rotation_HRKN) in enumerate(zip(config.attentions, rotations, strict=True)):
            needed = None
            if isinstance(attention, LSHAttention):
                rounds, directions = attention.rounds(training=training), sum(attention.n_buckets or ()) // 2
                needed = (config.n_heads, rounds, config.d_head, directions)
            found = None if rotation_HRKN is None else tuple(rotation_HRKN.shape)
            if found != needed:
                raise ValueError(
                    f"rotations[{depth}] has shape {found}, but layer {depth}, of kind {attention.kind!r}, takes "
                    f"{needed}; pass what rotations(seed) returns in this mode"
                )

    def check_memory(self, memory: Memory | None, batch: int) -> None:
        """There is an encoder's output exactly if the layers read one, and it fits.

        Raises:
            ValueError: It is missing, superfluous or of another size.
        """
        config = self.config
        if not config.cross_attention:
            if memory is not None:
                raise ValueError("memory is given, but nothing reads it: config.cross_attention=False")
            return
        if memory is None:
            raise ValueError("memory=None, but config.cross_attention=True: pass a Memory with an encoder's output")
        if not isinstance(memory, Memory):
            raise ValueError(f"memory is a {type(memory).__name__}; pass Memory(hidden_BED, valid_BE)")
        hidden, parameters = memory.hidden_BED, self.embedding.weight.dtype
        if not (
            hidden.is_floating_point() if torch.is_autocast_enabled(hidden.device.type) else hidden.dtype == parameters
        ):
            raise ValueError(
                f"memory.hidden_BED is {hidden.dtype}, but the decoder's parameters are {parameters}; "
                "convert one of them"
            )
        shape = hidden.shape
        if len(shape) != 3 or (shape[0], shape[2]) != (batch, config.d_model) or shape[1] == 0:
            raise ValueError(
                f"memory.hidden_BED has shape {tuple(shape)}; it must be [{batch}, source length, {config.d_model}]"
            )
        check_mask("memory.valid_BE", memory.valid_BE, shape[:2])

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for name, parameter in self.named_parameters():
            if name.startswith(("embedding.", "positions.")):
                parameter.normal_(std=self.config.d_model**-0.5, generator=generator)
            elif parameter.dim() == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                parameter.fill_(1)


class GridError(NamedTuple):
    """What a grid buys and costs, all of it relative.

    Attributes:
        undone: For each layer, first to last, the error of its inputs as rebuilt from the last layer's outputs.
        undone_without: The same without a grid.
        moved: Difference of what the model returns with the grid from what it returns without it.
    """

    undone: tuple[float, ...]
    undone_without: tuple[float, ...]
    moved: float


@torch.no_grad()
def grid_error(model: Reformer, token_BL: Tensor, *, seed: int, grid_bits: int) -> GridError:
    """Run a model's layers with a grid and without, undo them, and compare.

    What is undone on a grid comes back bit for bit. Hashing turns a step of the grid, like any rounding, into whole
    attention weights where a vector changes its bucket: for LSH attention `moved` is larger. Measured on a CPU at
    initialisation, 24 layers of width 256, 512 positions, `grid_bits=12` (last column: logits of bfloat16 autocast
    against float32's, without a grid, for scale):

                               first layer undone       moved   loss   bfloat16
                               on the grid   without
        local, float32         0             3.8e-4     6.8e-4  1e-5   8.3e-3
        local, autocast        0             2.3        6.1e-3  9e-6
        LSH, float32           0             3.3e-4     7.7e-2  5e-4   9.9e-2
        LSH, autocast          0             1.7        8.0e-2  5e-4
        dense, float32         0             3.7e-4     6.4e-4  6e-6   8.0e-3
        dense, autocast        0             1.6        5.9e-3  1e-5

    Under autocast a branch rounds the rebuilding's last digit up to one of its own, in every layer anew: this deep,
    nothing is left of what was to be rebuilt. There a grid is no refinement but a need.

    Args:
        model: With two streams and without cross-attention; under the caller's autocast and in the model's mode.
        token_BL: As in `Reformer.forward`, and so is `seed`.
        seed: See above.
        grid_bits: Of the grid, whatever the model's own.

    Returns:
        The errors.

    Raises:
        ValueError: An argument is not as described; names it. It is a `pydantic.ValidationError` where `grid_bits` does
            not fit.
        RuntimeError: A stream leaves the range of the grid.
    """
    call = Call(seed, model.training)
    model.check(token_BL, call)
    x_BLD = model.embedded(token_BL, torch.arange(token_BL.shape[1], device=token_BL.device))

    def measured(bits: int | None) -> tuple[tuple[float, ...], Tensor]:
        config = ReformerConfig(**{**dict(model.config), "grid_bits": bits})
        layers = [block.bound(call, None) for block in model.layers]
        errors = undoing_errors(partial(summing, config), layers, x_BLD, x_BLD)
        return errors, model.norm(stack_for(config)(layers, x_BLD))

    (undone, on_grid_BLD), (undone_without, plain_BLD) = measured(grid_bits), measured(None)
    return GridError(undone, undone_without, relative(on_grid_BLD, plain_BLD))
