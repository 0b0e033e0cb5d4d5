"""The server whose cells are probes: `python -m ablations.doctor.server`."""

from ablations.doctor import probes
from ablations.harness.server import main

if __name__ == "__main__":
    main(probes)
