"""Tests of the report, over results with planted answers."""
