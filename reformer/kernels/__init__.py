"""Fused implementations for NVIDIA GPUs, written in Triton: the only package that imports it.

The functions in `ops` have the signatures of their namesakes in `reformer.functional`, which is their specification.
None of them falls back on anything: what cannot run raises an error that names the reason and a
backend that would work. Importing this package, or any of its modules that is not named `*_kernels`, needs no Triton.
"""
