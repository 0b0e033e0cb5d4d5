"""Loaders of real data: found locally or downloaded, checked by sum, never replaced by something made up."""
