"""What the nightly runs measured, commit by commit, and where it changed."""
