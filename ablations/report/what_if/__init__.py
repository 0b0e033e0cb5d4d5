"""The page that computes what a model of any size would take, from fits to what was measured."""

from ablations.report.what_if.page import page

__all__ = ["page"]
