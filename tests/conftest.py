"""Settings of the whole test suite."""

import os

import torch

if not torch.cuda.is_available():
    # Triton's interpreter has to be chosen before anything imports Triton, and torch.compile does.
    os.environ["TRITON_INTERPRET"] = "1"

# Test tensors are tiny: a second thread costs more than it brings, most of all beside other work.
torch.set_num_threads(1)
