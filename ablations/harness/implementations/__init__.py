"""Whose code takes a cell's steps: a module for each, none of which imports a peer before it is asked for.

Every attention gets the same vectors, drawn from the cell's seed, as tensors of its own layout that want gradients.
Hash rounds, chunks and bucket counts are the config's; where a peer's option for one of them does not exist, its module
says so. Hashing and sorting are part of every step, with rotations drawn anew each time as all of them do.
"""
