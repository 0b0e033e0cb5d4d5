"""Fused implementations for NVIDIA GPUs, written in Triton: the only package that imports it.

The functions in `ops` have the signatures of their namesakes in `reformer.functional`, which is their specification.
None of them falls back on anything: what cannot run raises an error that names the reason and a
backend that would work. Importing this package, or any of its modules that is not named `*_kernels`, needs no Triton.

The same inputs give the same results bit for bit. Every floating-point sum is taken in a fixed order; atomic additions,
whose order is not, count whole numbers only, while sorting, and those add up to the same in any order.
"""
