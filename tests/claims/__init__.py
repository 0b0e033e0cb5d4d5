"""Tests of the claims registry, over records with planted answers."""
