"""Experiments as data, the harness that runs them, and the reports drawn from what it recorded."""
