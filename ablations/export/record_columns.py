"""The columns of `records`: what was asked, what became of it, and the figures measured, one row per record."""

from collections.abc import Callable
from statistics import median

from ablations.export.columns import Column, Value
from ablations.harness.measurement import (
    Ceilings,
    Discrepancy,
    Evaluation,
    KernelSeconds,
    LearningCurve,
    Ledger,
    PeakBytes,
    StepTimes,
    Trained,
)
from ablations.harness.record import Record
from ablations.harness.training import Learn
from ablations.harness.work import copy_rate, matrix_rate
from ablations.report.groups import samples
from reformer.config import ReformerConfig


def _of_cell(name: str) -> Callable[[Record], Value]:
    """A field of the cell that says nothing where the bare machine is measured."""
    return lambda record: None if record.cell.scope == "machine" else getattr(record.cell, name)


def _of_config(read: Callable[[ReformerConfig], Value]) -> Callable[[Record], Value]:
    return lambda record: None if record.cell.scope == "machine" else read(record.cell.config)


def _of_attention(name: str) -> Callable[[Record], Value]:
    """What all layers that have the field agree on."""

    def read(config: ReformerConfig) -> Value:
        values = {getattr(one, name) for one in config.attentions if hasattr(one, name)}
        return values.pop() if len(values) == 1 else None

    return _of_config(read)


def _task(record: Record) -> Value:
    return record.cell.workload.task.kind if isinstance(record.cell.workload, Learn) else None


def _of_times(read: Callable[[StepTimes], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, StepTimes) else None


def _of_peak(read: Callable[[PeakBytes], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, PeakBytes) else None


def _of_ledger(read: Callable[[Ledger], Value]) -> Callable[[Record], Value]:
    return _of_peak(lambda peak: read(peak.ledger) if peak.ledger else None)


def _of_curve(read: Callable[[LearningCurve], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, LearningCurve) else None


def _of_last(read: Callable[[Evaluation], Value]) -> Callable[[Record], Value]:
    return _of_curve(lambda curve: read(curve.evaluations[-1]) if curve.evaluations else None)


def _of_trained(read: Callable[[Trained], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, Trained) else None


def _of_discrepancy(read: Callable[[Discrepancy], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, Discrepancy) else None


def _of_kernels(read: Callable[[KernelSeconds], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, KernelSeconds) else None


def _of_ceilings(read: Callable[[Ceilings], Value]) -> Callable[[Record], Value]:
    return lambda record: read(record.measurement) if isinstance(record.measurement, Ceilings) else None


def _median(values: tuple[float, ...] | None) -> float | None:
    return median(values) if values else None


def _peak_bytes(record: Record) -> Value:
    found = record.measurement
    return found.peak_bytes if isinstance(found, PeakBytes | LearningCurve) else None


def _n_parameters(record: Record) -> Value:
    found = record.measurement
    return found.n_parameters if isinstance(found, LearningCurve | Discrepancy) else None


def _tokens_per_step(record: Record) -> Value:
    found = record.measurement
    return found.tokens_per_step if isinstance(found, StepTimes | LearningCurve) else None


def _tokens_per_second(times: StepTimes) -> float | None:
    seconds = _median(samples(times))
    return times.tokens_per_step / seconds if seconds else None


def _joules_per_step(times: StepTimes) -> float | None:
    return times.energy.joules / times.energy.steps if times.energy and times.energy.steps else None


def _per_step(found: KernelSeconds, total: float) -> float | None:
    return total / found.steps if found.steps else None


CELL_COLUMNS: tuple[Column[Record], ...] = (
    Column("machine", "text", "Short name of the machine.", lambda one: one.environment.machine),
    Column("experiment", "text", "Name of the experiment.", lambda one: one.cell.experiment),
    Column("cell_id", "text", "Hash of all that defines the measurement; one row each.", lambda one: one.cell.id),
    Column("kind", "text", "Kind of workload, which says what was measured.", lambda one: one.cell.workload.kind),
    Column("mode", "text", "What a step is; the kind where a workload has no modes.", lambda one: one.cell.mode),
    Column("task", "text", "What was learned; null of all else.", _task),
    Column("scope", "text", "What takes the steps: model, attention or machine.", lambda one: one.cell.scope),
    Column("implementation", "text", "Whose code.", lambda one: one.cell.implementation),
    Column("contender", "text", "Variant of a model of ours; else whose code.", lambda one: one.cell.contender),
    Column("variant", "text", "Attention and residuals, by name.", _of_config(lambda config: config.variant)),
    Column("dtype", "text", "Of parameters and inputs.", lambda one: one.cell.dtype),
    Column("device", "text", "cpu or cuda.", lambda one: one.cell.device),
    Column("batch", "integer", "Sequences per step; null of the bare machine.", _of_cell("batch")),
    Column("length", "integer", "Tokens per sequence; null of the bare machine.", _of_cell("length")),
    Column("n_layers", "integer", "Layers; null of the bare machine.", _of_config(lambda config: config.n_layers)),
    Column("d_model", "integer", "Width of the model.", _of_config(lambda config: config.d_model)),
    Column("n_heads", "integer", "Attention heads.", _of_config(lambda config: config.n_heads)),
    Column("d_head", "integer", "Width of a head.", _of_config(lambda config: config.d_head)),
    Column("d_ff", "integer", "Width of the feed-forward half.", _of_config(lambda config: config.d_ff)),
    Column(
        "ff_chunk_len",
        "integer",
        "Positions that the feed-forward half takes at a time; null where it takes all.",
        _of_config(lambda config: config.ff_chunk_len),
    ),
    Column("n_hashes", "integer", "Hash rounds; null without LSH, or where layers differ.", _of_attention("n_hashes")),
    Column(
        "chunk_len",
        "integer",
        "Positions in a chunk; null without, or where layers differ.",
        _of_attention("chunk_len"),
    ),
    Column("backend", "text", "Of LSH attention; null without, or where layers differ.", _of_attention("backend")),
    Column("seed", "integer", "Of parameters and inputs; a seed is a process of its own.", lambda one: one.cell.seed),
)

OUTCOME_COLUMNS: tuple[Column[Record], ...] = (
    Column("status", "text", "ok, or what became of the attempt.", lambda one: one.status),
    Column("reason", "text", "Why there is no measurement; null if there is.", lambda one: one.reason),
    Column(
        "wall_median_seconds",
        "number",
        "Per step, by the wall clock; median of this process's samples.",
        _of_times(lambda times: _median(times.wall_seconds)),
    ),
    Column(
        "cpu_median_seconds",
        "number",
        "Processor time per step, all threads added; median.",
        _of_times(lambda times: _median(times.cpu_seconds)),
    ),
    Column(
        "device_median_seconds",
        "number",
        "Per step, between events of the GPU; median; null without one.",
        _of_times(lambda times: _median(times.device_seconds)),
    ),
    Column("n_samples", "integer", "Steps timed.", _of_times(lambda times: len(times.wall_seconds))),
    Column("steady", "truth", "Whether the warm-up had settled.", _of_times(lambda times: times.steady)),
    Column(
        "contended",
        "truth",
        "Whether others took more than a twentieth of the processors; false also where that cannot be known.",
        _of_times(lambda times: times.contended),
    ),
    Column(
        "tokens_per_step",
        "integer",
        "Batch times length; of decoding batch; of training that of the last step.",
        _tokens_per_step,
    ),
    Column(
        "tokens_per_second",
        "number",
        "Tokens of a step over its median seconds, by the device's clock where it has one; null of training.",
        _of_times(_tokens_per_second),
    ),
    Column("energy_per_step_joules", "number", "Of the GPU; null without a counter.", _of_times(_joules_per_step)),
    Column("peak_bytes", "integer", "Most bytes of tensors alive at once, in a step or in training.", _peak_bytes),
    Column("peak_method", "text", "How the peak of a step was taken.", _of_peak(lambda peak: peak.method)),
    Column("saved_bytes", "integer", "Kept for the backward pass.", _of_peak(lambda peak: peak.saved_bytes)),
    Column("parameter_bytes", "integer", "Of the model.", _of_peak(lambda peak: peak.parameter_bytes)),
    Column("gradient_bytes", "integer", "Of its gradients.", _of_peak(lambda peak: peak.gradient_bytes)),
    Column("optimiser_bytes", "integer", "State of the optimiser.", _of_peak(lambda peak: peak.optimiser_bytes)),
    Column(
        "ledger_parameters_bytes",
        "integer",
        "Part of the peak: parameters.",
        _of_ledger(lambda parts: parts.parameters),
    ),
    Column("ledger_gradients_bytes", "integer", "Part: their gradients.", _of_ledger(lambda parts: parts.gradients)),
    Column("ledger_optimiser_bytes", "integer", "Part: optimiser.", _of_ledger(lambda parts: parts.optimiser)),
    Column("ledger_streams_bytes", "integer", "Part: residual streams kept.", _of_ledger(lambda parts: parts.streams)),
    Column(
        "ledger_activations_bytes",
        "integer",
        "Part: all other numbers kept for the backward pass.",
        _of_ledger(lambda parts: parts.activations),
    ),
    Column(
        "ledger_buckets_bytes",
        "integer",
        "Part: buckets, orders and positions kept.",
        _of_ledger(lambda parts: parts.buckets),
    ),
    Column(
        "ledger_transient_bytes",
        "integer",
        "Part: how far the peak lies above what is kept.",
        _of_ledger(lambda parts: parts.transient),
    ),
    Column("os_peak_bytes", "integer", "The peak as the system sees it.", _of_peak(lambda peak: peak.os_peak_bytes)),
    Column("reserved_bytes", "integer", "Held by the GPU's allocator.", _of_peak(lambda peak: peak.reserved_bytes)),
    Column(
        "final_bits_per_token",
        "number",
        "Held out, after the last step; of byte tasks this is bits per byte.",
        _of_last(lambda last: last.bits_per_token),
    ),
    Column(
        "final_accuracy",
        "number",
        "Share of right predictions, 0 to 1, after the last step; null where not asked for.",
        _of_last(lambda last: last.accuracy),
    ),
    Column(
        "training_seconds",
        "number",
        "Since the first step began, evaluation not counted.",
        _of_curve(lambda curve: curve.points[-1].seconds if curve.points else None),
    ),
    Column(
        "training_steps",
        "integer",
        "Optimiser steps taken.",
        _of_curve(lambda curve: curve.points[-1].step if curve.points else None),
    ),
    Column(
        "bleu",
        "number",
        "0 to 100, by sacrebleu; null of all but translation.",
        _of_curve(lambda curve: curve.translations.bleu if curve.translations else None),
    ),
    Column("n_parameters", "integer", "Numbers in the model, of training and exactness.", _n_parameters),
    Column(
        "budget_bytes",
        "integer",
        "What a training step of a capacity cell that went through was allowed.",
        _of_trained(lambda trained: trained.budget_bytes),
    ),
    Column(
        "budget_step_seconds",
        "number",
        "What that step took, by the wall clock.",
        _of_trained(lambda trained: trained.seconds),
    ),
    Column(
        "largest_difference",
        "number",
        "Between two ways to compute the same thing; no unit.",
        _of_discrepancy(lambda found: found.largest_difference),
    ),
    Column(
        "relative_difference",
        "number",
        "Root mean square of the differences over that of the numbers; no unit.",
        _of_discrepancy(lambda found: found.relative_difference),
    ),
    Column(
        "kernels_per_step_seconds",
        "number",
        "All kernels of the GPU in a step, added up, by the profiler.",
        _of_kernels(lambda found: _per_step(found, sum(one.seconds for one in found.kernels))),
    ),
    Column(
        "kernel_calls_per_step",
        "number",
        "How many ran in a step.",
        _of_kernels(lambda found: _per_step(found, sum(one.calls for one in found.kernels))),
    ),
    Column(
        "products_flops_per_second",
        "number",
        "Ceiling of the machine: operations of the fastest matrix product.",
        _of_ceilings(matrix_rate),
    ),
    Column(
        "copies_per_second_bytes",
        "number",
        "Ceiling of the machine: bytes read and written by the fastest copy, in a second.",
        _of_ceilings(copy_rate),
    ),
    Column("commit", "text", "Revision that was measured; null if unknown.", lambda one: one.environment.commit),
    Column("dirty", "truth", "Whether the code differed from it.", lambda one: one.environment.dirty),
    Column("torch_version", "text", "Of PyTorch.", lambda one: one.environment.packages.get("torch")),
    Column("started", "text", "UTC, ISO 8601.", lambda one: one.started),
    Column("attempt_seconds", "number", "Of the whole attempt, process start included.", lambda one: one.seconds),
)

RECORD_COLUMNS = (*CELL_COLUMNS, *OUTCOME_COLUMNS)
