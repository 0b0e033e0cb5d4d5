"""How many operators one step runs, and how many floating-point operations they are: counted, not timed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

OWN_OPERATORS = "reformer"
"""How the namespaces of this project's operators begin: made of others in Python, which are counted too."""
IN_PLACE = {torch.ops.aten.addmm_: torch.ops.aten.addmm, torch.ops.aten.baddbmm_: torch.ops.aten.baddbmm}
"""Operators that PyTorch has no formula for, and those with as many operations that it has one for."""
COPYING = frozenset({torch.ops.aten.clone, torch.ops.aten.copy_, torch.ops.aten._to_copy})


class Counted(NamedTuple):
    """What one step did.

    Attributes:
        operators: Calls of PyTorch's operators, those of the backward pass and of the optimiser among them.
        copies: Calls among them that copy a tensor as it is, or to another type.
        flops: Of products of matrices, by PyTorch's formulas; a multiplication with its addition is two. Recomputed
            products count again, masked pairs like others, and everything elementwise not at all, nor does flash
            attention on a CPU, which PyTorch has no formula for.
    """

    operators: int
    copies: int
    flops: int


def counted(step: Callable[[], None]) -> Counted:
    """Take a step on a CPU and count what it does.

    Both numbers follow from shapes alone: each step of the same computation has the same, once what is made in the
    first one is there.
    """
    with _Counter() as counter:
        step()
    return Counted(counter.operators, counter.copies, counter.flops)


class _Counter(TorchDispatchMode):
    """Sees every operator just before it runs.

    PyTorch's own `FlopCounterMode` hooks into modules, which breaks on reversible layers, and sees an operator of this
    project as one that does nothing.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators = self.copies = self.flops = 0

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  (whatever the operator returns)
        packet = func.overloadpacket
        self.operators += 1
        self.copies += packet in COPYING
        keywords = kwargs or {}
        if func.namespace.startswith(OWN_OPERATORS):
            with self:
                # Its own code, past the dispatcher, which would end here again.
                return OPDEFS[func.name().removesuffix(".default")]._init_fn(*args, **keywords)
        out = func(*args, **keywords)
        formula = flop_registry.get(IN_PLACE.get(packet, packet))
        if formula:
            self.flops += formula(*args, **keywords, out_val=out)
        return out
