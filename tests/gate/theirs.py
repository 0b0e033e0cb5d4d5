"""A package of somebody else, with its contender, as if it were installed in a folder."""

import shutil
from pathlib import Path

from ablations.harness.environment import PROJECT

PACKAGE = PROJECT / "tests" / "outside_package" / "mine"


def install(source: Path) -> None:
    """The package `mine` and what registers its contender."""
    shutil.copytree(PACKAGE, source / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    info = source / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[reformer_suite.contenders]\nmine = mine:CONTENDER\n")
