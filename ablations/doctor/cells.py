"""The cells of a check-up: ordinary ones, and probes, which do on demand what no model should do."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from ablations.harness.cell import Cell, Device, KernelTimes, PeakMemory, TimeStep, Workload
from reformer.config import VARIANTS, ReformerConfig

EXPERIMENT = "doctor"

Probe = Literal["known memory", "known sleep", "out of memory", "hang"]
"""What a probe does: holds tensors of a known size, sleeps for a known time, takes all memory, or never ends."""
PROBES: tuple[Probe, ...] = get_args(Probe)

BLOCKS, BLOCK_BYTES = 3, 64 * 2**20
"""Of the known memory."""
SLEEP_SECONDS = 0.05

LAYERS = 6
MORE_LAYERS = 7
"""A sixth more work for a step, but for embedding and loss."""
SIZES: Mapping[str, Any] = {"vocab_size": 64, "d_model": 128, "n_heads": 2, "d_head": 64, "d_ff": 512, "max_len": 128}
STEPS = TimeStep(mode="forward_backward", min_samples=7, seconds=0.5)


def model(device: Device, *, n_layers: int = LAYERS, workload: Workload = STEPS) -> Cell:
    """A small dense model of ours."""
    dense = VARIANTS["dense"]
    config = ReformerConfig(**SIZES, n_layers=n_layers, attention=dense.attention, residual=dense.residual)
    return Cell(
        experiment=EXPERIMENT,
        config=config,
        workload=workload,
        batch=1,
        length=config.max_len,
        device=device,
        seed=0,
    )


def memory(device: Device) -> Cell:
    """The peak of one of its steps."""
    return model(device, n_layers=1, workload=PeakMemory(mode="forward_backward"))


def kernels(device: Device) -> Cell:
    """What each of its kernels takes."""
    return model(device, n_layers=1, workload=KernelTimes(mode="forward_backward", steps=1))


def probe(what: Probe, device: Device) -> Cell:
    """A cell for the server of probes alone: its name says what it does, and its workload how that is measured."""
    workload: Workload = STEPS if what == "known sleep" else PeakMemory(mode="forward")
    return model(device, n_layers=1, workload=workload).model_copy(update={"experiment": what})
