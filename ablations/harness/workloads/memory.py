"""Peak memory of a cell's step, and what it is made of."""

from functools import partial
from typing import NamedTuple, Self

from torch import Tensor

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.errors import UnsupportedError
from ablations.harness.measure import memory
from ablations.harness.measure.kept import Kept, kept_by_kind
from ablations.harness.measurement import Ledger, PeakBytes
from ablations.harness.steps import build_trial
from ablations.harness.trial import Step, Trial

WITHOUT_GRADIENTS = frozenset({"forward", "decode"})
PARTS_OF_STEPS = frozenset({"forward_recorded", "backward"})


def measure_memory(cell: Cell, workload: PeakMemory) -> PeakBytes:
    """The peak of one step of the cell, and what it is made of.

    One step warms up at the measured length: caches fill, and gradients and the optimiser's state come into being,
    which later steps add to in place. Then, each from a state without rubbish: forward passes that are looked at for
    what they keep; on a CPU a plain step, for the system's view; and the step whose peak is taken.

    Raises:
        UnsupportedError: The mode is a part of a step.
        RuntimeError: More is kept for the backward pass than is alive at the peak, so that one of both is wrong.
    """
    if workload.mode in PARTS_OF_STEPS:
        raise UnsupportedError(
            f"mode={workload.mode!r} is a part of a step, whose memory depends on the other parts: "
            "measure memory with mode='forward_backward'"
        )
    if workload.resident:
        memory.map_every_large_block()
    trial = build_trial(cell)
    step = trial.step(workload.mode)
    step()
    weights = _Weights.of(trial, step)
    kept = _kept(cell, trial, workload)
    measured = _on_gpu(step) if trial.device.type == "cuda" else _on_cpu(step, workload)
    if measured.peak_bytes < kept.all_of_it:
        raise RuntimeError(
            f"{kept.all_of_it} bytes are kept at the end of the forward pass, yet no more than {measured.peak_bytes} "
            "are alive at the peak: one of both is wrong"
        )
    return measured.model_copy(
        update={
            **weights._asdict(),
            "saved_bytes": kept.all_of_it,
            "saved_missing": None,
            "ledger": kept.ledger(weights, measured.peak_bytes),
            "ledger_missing": kept.untold,
        }
    )


class _Weights(NamedTuple):
    """Bytes that are there before a step begins, as `PeakBytes` has them."""

    parameter_bytes: int
    gradient_bytes: int
    optimiser_bytes: int

    @classmethod
    def of(cls, trial: Trial, step: Step) -> Self:
        """What the last step left."""
        state = step.optimiser.state.values() if step.optimiser else ()
        held = (value for entry in state for value in entry.values() if isinstance(value, Tensor))
        return cls(
            parameter_bytes=sum(tensor.nbytes for tensor in trial.wanted),
            gradient_bytes=sum(gradient.nbytes for gradient in trial.gradients),
            optimiser_bytes=sum(tensor.nbytes for tensor in held),
        )


class _AllKept(NamedTuple):
    """Bytes kept at the end of the forward pass.

    Attributes:
        all_of_it: Whatever they are.
        parts: Some of them, told apart; `None` where that is not possible.
        untold: Why `parts` is `None`.
    """

    all_of_it: int
    parts: Kept | None
    untold: str | None

    def ledger(self, weights: _Weights, peak_bytes: int) -> Ledger | None:
        """The whole peak in parts."""
        if self.parts is None:
            return None
        return Ledger(
            parameters=weights.parameter_bytes,
            gradients=weights.gradient_bytes,
            optimiser=weights.optimiser_bytes,
            streams=self.parts.streams,
            activations=self.all_of_it - self.parts.streams - self.parts.integers,
            buckets=self.parts.integers,
            transient=peak_bytes - self.all_of_it,
        )


def _kept(cell: Cell, trial: Trial, workload: PeakMemory) -> _AllKept:
    ours = (cell.scope, cell.implementation) == ("model", "ours")
    untold = None if ours else "streams are told apart in whole models of this project only"
    if workload.mode in WITHOUT_GRADIENTS:
        return _AllKept(0, Kept(0, 0) if ours else None, untold)
    left = memory.left_cuda_bytes if trial.device.type == "cuda" else memory.left_tensor_bytes
    return _AllKept(left(trial.output), kept_by_kind(trial.output, trial.device) if ours else None, untold)


def _measured() -> partial[PeakBytes]:
    """What either device adds its own to: the rest is filled in when all is known."""
    unknown = {"parameter_bytes": 0, "gradient_bytes": 0, "optimiser_bytes": 0, "saved_bytes": None, "ledger": None}
    return partial(PeakBytes, **unknown, saved_missing=None, ledger_missing=None)


def _on_gpu(step: Step) -> PeakBytes:
    peaks = memory.peak_cuda_bytes(step)
    held, held_missing = memory.nvml_process_bytes()
    return _measured()(
        peak_bytes=peaks.allocated,
        method="cuda_max_memory_allocated",
        os_peak_bytes=None,
        os_peak_missing="the step's memory is on the GPU",
        reserved_bytes=peaks.reserved,
        requested_bytes=peaks.requested,
        process_bytes=held,
        process_missing=held_missing,
    )


def _on_cpu(step: Step, workload: PeakMemory) -> PeakBytes:
    os_peak, os_peak_missing = memory.peak_resident_bytes(step) if workload.resident else (None, "not asked for")
    return _measured()(
        peak_bytes=memory.peak_tensor_bytes(step),
        method="profiler_allocation_events",
        os_peak_bytes=os_peak,
        os_peak_missing=os_peak_missing,
        reserved_bytes=None,
        requested_bytes=None,
        process_bytes=None,
        process_missing="no GPU in use",
    )
