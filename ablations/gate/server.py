"""The server whose cells are paced: `python -m ablations.gate.server`, started where the side to be measured lies."""

from importlib import import_module

from ablations.gate import pacing
from ablations.harness.server import main

if __name__ == "__main__":
    # As in the server of ordinary cells: a second, to be spent here and not in every cell.
    import_module("torch._dynamo")
    main(pacing)
