"""LSH attention in plain PyTorch, in blocks that fit a processor's cache, with a backward pass of its own.

Each module has the functions of the module of the same name in `reformer.functional`, the specification, and gives the
same values up to rounding. Nothing needs a compiler.
"""
