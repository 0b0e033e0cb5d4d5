"""What the driver says of a GPU while a cell runs on it, read by the process that waits for the cell."""

from collections.abc import Iterator
from contextlib import contextmanager

from ablations.harness.cell import Device
from ablations.harness.record import DeviceState


class Watch:
    """Readings of the device, from when it is made until `result` is asked for."""

    def result(self) -> tuple[DeviceState | None, str | None]:
        """What was read, or `None` and the reason."""
        return None, "no GPU in use"


@contextmanager
def watching(device: Device) -> Iterator[Watch]:
    """Read the state of the device all the while."""
    del device
    yield Watch()
