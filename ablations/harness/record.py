"""What is kept of one attempt to measure a cell. Every attempt ends as a record, whatever happened."""

from typing import Literal, Self

from pydantic import model_validator

from ablations.harness.cell import Cell
from ablations.harness.measurement import Measurement
from reformer.config import Frozen

SCHEMA = 5
"""Version of the records this code writes; older ones are upgraded when read, newer ones are refused.

1: as 2, but configs lacked the fields that the whole Reformer added, all of which have the old behaviour as default.
2: as 3, but there were only whole models of ours in float32, and their LSH attention was always the eager one.
3: as 4, but of times, peaks and records there was less: what is new is null in them, with this as the reason.
4: as now, but learning had one task and one recipe, `bits_per_byte`, and no peak: what is new is null in them.
"""

Status = Literal["ok", "oom", "killed", "timeout", "error", "unsupported", "not_run"]
"""`not_run` means that something the cell needs is missing here (a data set); it is tried again on the next run."""


THROTTLE_REASONS = 0x8 | 0x20 | 0x40 | 0x80
"""NVML's bits for hardware slow-down, software and hardware thermal slow-down, and the power brake."""


class Environment(Frozen):
    """Where and with what a record was made.

    Attributes:
        machine: Short name made of the hardware and a number of its own, the folder under `results/`.
        processor: Model of the processor.
        cores: Logical processors available.
        memory_bytes: Main memory.
        accelerator: Name of the GPU, or `None`.
        accelerator_memory_bytes: Its memory, or `None`.
        driver: Its driver's version, or `None`.
        system: Operating system and kernel.
        python: Version.
        packages: Versions of the packages that matter to the figures.
        commit: Revision of this project, or `None` outside a checkout.
        dirty: Whether the code differed from that revision; `None` without one.
    """

    machine: str
    processor: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    accelerator_memory_bytes: int | None
    driver: str | None
    system: str
    python: str
    packages: dict[str, str]
    commit: str | None
    dirty: bool | None


class DeviceReading(Frozen):
    """What the driver said of the GPU at one moment.

    Attributes:
        seconds: Since the cell started.
        sm_clock_mhz: Of the processors.
        memory_clock_mhz: Of the memory.
        celsius: Of the chip.
        watts: Drawn by the board.
        reasons: Why clocks were below their most, as NVML's bits.
    """

    seconds: float
    sm_clock_mhz: int
    memory_clock_mhz: int
    celsius: int
    watts: float
    reasons: int


class DeviceState(Frozen):
    """The GPU while a cell ran, read ten times a second by a process that was not measured."""

    readings: tuple[DeviceReading, ...]

    @property
    def throttled(self) -> bool:
        """Whether heat or power supply slowed the device down; being at its power limit is its normal state."""
        return any(reading.reasons & THROTTLE_REASONS for reading in self.readings)


class Record(Frozen):
    """One attempt at one cell.

    Attributes:
        schema_version: `SCHEMA` when written.
        cell_id: `cell.id` when written; kept so that a record can be found without understanding its cell.
        cell: What was asked.
        status: What became of it.
        reason: Why, for every status but `ok`.
        measurement: What was measured; present exactly when `status` is `ok`.
        environment: Where.
        device_state: Of the GPU meanwhile; `None` without one.
        device_state_missing: Why `device_state` is `None`.
        started: UTC, ISO 8601.
        seconds: Wall clock of the whole attempt, process start included.
        worker_seconds: Of these, what the cell's process spent on the cell; `None` if it did not live to say so.
    """

    schema_version: int = SCHEMA
    cell_id: str
    cell: Cell
    status: Status
    reason: str | None
    measurement: Measurement | None
    environment: Environment
    device_state: DeviceState | None
    device_state_missing: str | None
    started: str
    seconds: float
    worker_seconds: float | None

    @model_validator(mode="after")
    def _status_and_content_agree(self) -> Self:
        if (self.status == "ok") != (self.measurement is not None) or (self.status == "ok") != (self.reason is None):
            raise ValueError(f"status {self.status!r} goes with a measurement if ok, with a reason otherwise")
        return self
