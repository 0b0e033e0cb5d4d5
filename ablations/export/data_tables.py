"""The data files: records, raw samples, and evaluations of training."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ablations.export.columns import Column, DataTable, data_table
from ablations.export.record_columns import RECORD_COLUMNS
from ablations.harness.measurement import Evaluation, LearningCurve, StepTimes
from ablations.harness.record import Record


@dataclass(frozen=True)
class Sample:
    """One timed step of a record; `None` where a clock did not run."""

    record: Record
    index: int
    wall_seconds: float | None
    cpu_seconds: float | None
    device_seconds: float | None


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of a record."""

    record: Record
    evaluation: Evaluation


SAMPLE_COLUMNS: tuple[Column[Sample], ...] = (
    Column("machine", "text", "As in `records`.", lambda one: one.record.environment.machine),
    Column("cell_id", "text", "As in `records`.", lambda one: one.record.cell.id),
    Column("index", "integer", "Counted from 0, in the order taken.", lambda one: one.index),
    Column("wall_seconds", "number", "By the wall clock.", lambda one: one.wall_seconds),
    Column("cpu_seconds", "number", "Processor time, all threads added.", lambda one: one.cpu_seconds),
    Column("device_seconds", "number", "Between events of the GPU; null without one.", lambda one: one.device_seconds),
)

CURVE_COLUMNS: tuple[Column[Evaluated], ...] = (
    Column("machine", "text", "As in `records`.", lambda one: one.record.environment.machine),
    Column("cell_id", "text", "As in `records`.", lambda one: one.record.cell.id),
    Column("experiment", "text", "As in `records`.", lambda one: one.record.cell.experiment),
    Column("contender", "text", "As in `records`.", lambda one: one.record.cell.contender),
    Column("seed", "integer", "As in `records`.", lambda one: one.record.cell.seed),
    Column("step", "integer", "Optimiser steps taken before.", lambda one: one.evaluation.step),
    Column("training_seconds", "number", "Taken before, evaluation not counted.", lambda one: one.evaluation.seconds),
    Column("bits_per_token", "number", "Held out.", lambda one: one.evaluation.bits_per_token),
    Column(
        "accuracy", "number", "Share of right predictions; null where not asked.", lambda one: one.evaluation.accuracy
    ),
    Column("n_tokens", "integer", "Evaluated on.", lambda one: one.evaluation.n_tokens),
)


def data_tables(records: Sequence[Record]) -> tuple[DataTable, ...]:
    """All of them, rows in the order of the records."""
    return (
        data_table("records", "One row per record, whatever its status.", RECORD_COLUMNS, records),
        data_table("samples", "One row per timed step, warm-up left out.", SAMPLE_COLUMNS, _samples(records)),
        data_table("curves", "One row per evaluation of a training run.", CURVE_COLUMNS, _evaluations(records)),
    )


def _samples(records: Iterable[Record]) -> Iterator[Sample]:
    for record in records:
        if isinstance(times := record.measurement, StepTimes):
            clocks = zip_longest(times.wall_seconds, times.cpu_seconds, times.device_seconds or ())
            yield from (Sample(record, index, *step) for index, step in enumerate(clocks))


def _evaluations(records: Iterable[Record]) -> Iterator[Evaluated]:
    for record in records:
        if isinstance(curve := record.measurement, LearningCurve):
            yield from (Evaluated(record, one) for one in curve.evaluations)
