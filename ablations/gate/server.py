"""The server whose cells are paced: `python -m ablations.gate.server`, started where the side to be measured lies."""

from ablations.gate import pacing
from ablations.harness.server import main

if __name__ == "__main__":
    main(pacing)
