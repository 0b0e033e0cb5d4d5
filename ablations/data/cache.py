"""The user's cache: what is worth keeping from run to run and from checkout to checkout."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where it is, whether or not it exists yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reformer-suite"
