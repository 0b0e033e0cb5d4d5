"""Settings of the whole test suite."""

import torch

# Test tensors are tiny: a second thread costs more than it brings, most of all beside other work.
torch.set_num_threads(1)
