"""The mathematics in plain PyTorch: the specification that every faster implementation is tested against."""

import torch

# With MKL the exponential picks its code at its first call, and two threads that make that call at once may get it with
# an error of 1.5e-4: on two busy cores one process in a thousand, and one in twenty whose first call is LSH attention.
# One number is one thread, and then it is picked.
for _dtype in (torch.float32, torch.float64):
    torch.zeros(1, dtype=_dtype, device="cpu").exp()
