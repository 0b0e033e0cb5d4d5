"""Peak memory of a cell's step."""

from ablations.harness.cell import Cell, PeakMemory
from ablations.harness.measure import memory
from ablations.harness.measurement import PeakBytes
from ablations.harness.steps import build_trial


def measure_memory(cell: Cell, workload: PeakMemory) -> PeakBytes:
    """The peak of one step of the cell, and what it is made of."""
    if workload.resident:
        memory.map_every_large_block()
    trial = build_trial(cell)
    step = trial.step(workload.mode)
    # Once unmeasured: caches fill, and gradients come into being, which the next step adds to in place.
    step()
    weights = {
        "parameter_bytes": sum(tensor.nbytes for tensor in trial.wanted),
        "gradient_bytes": sum(gradient.nbytes for gradient in trial.gradients),
        "optimiser_bytes": 0,
        "saved_bytes": None,
        "saved_missing": "not measured yet",
        "ledger": None,
        "ledger_missing": "not measured yet",
    }
    if trial.device.type == "cuda":
        peak, reserved = memory.peak_cuda_bytes(step)
        held, held_missing = memory.nvml_process_bytes()
        return PeakBytes(
            peak_bytes=peak,
            method="cuda_max_memory_allocated",
            os_peak_bytes=None,
            os_peak_missing="the step's memory is on the GPU",
            reserved_bytes=reserved,
            requested_bytes=None,
            process_bytes=held,
            process_missing=held_missing,
            **weights,
        )
    os_peak, os_peak_missing = memory.peak_resident_bytes(step) if workload.resident else (None, "not asked for")
    return PeakBytes(
        peak_bytes=memory.peak_tensor_bytes(step),
        method="profiler_allocation_events",
        os_peak_bytes=os_peak,
        os_peak_missing=os_peak_missing,
        reserved_bytes=None,
        requested_bytes=None,
        process_bytes=None,
        process_missing="no GPU in use",
        **weights,
    )
