"""The paper's claims, and what the records of a machine say about each. Reads records, runs nothing."""
