"""From a question and a grid to records on disk: expand, plan, run one process per cell, store."""
