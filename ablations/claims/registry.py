"""All claims, the paper's in its own order and others' after them, and what one machine's records say of each."""

from ablations.claims import (
    arena,
    beyond,
    capacity,
    disputes,
    duplication,
    exactness,
    memory,
    quality,
    rounds,
    savings,
    time,
)
from ablations.claims.claim import Claim, Judged
from ablations.claims.evidence import Evidence
from ablations.harness.store import MachineResults

CLAIMS: tuple[Claim, ...] = (
    # Abstract and introduction.
    savings.C18,
    capacity.C18B,
    memory.C1,
    # Section 2, Tables 1 and 2.
    memory.C2,
    exactness.C20,
    memory.C4,
    duplication.C8,
    # Section 3, Table 3.
    memory.C3,
    exactness.C7,
    exactness.C6,
    beyond.C19,
    memory.C5,
    # Section 5, Figures 3 to 5, Table 4.
    quality.C9,
    quality.C10,
    quality.C17,
    rounds.C11,
    rounds.C12,
    capacity.C14,
    quality.C14B,
    time.C13,
    time.C13B,
    beyond.C15,
    beyond.C16,
    # The authors elsewhere, and those who used their model.
    capacity.C21,
    *(savings.BLOG_DEPTH, savings.BLOG_CHUNKS),
    *(arena.LRA_SPEED, arena.LRA_MEMORY, arena.LRA_QUALITY),
    # Disputes.
    disputes.HF_KEY_FEATURE,
    *(arena.LUCIDRAINS_SPEED, disputes.LUCIDRAINS_QUALITY),
    *(duplication.FASTAI_DUPLICATION, savings.FASTAI_TIME, disputes.FASTAI_QUALITY),
)


def judge_all(results: MachineResults) -> tuple[Judged, ...]:
    """What one machine's records say of every claim, in the order of `CLAIMS`.

    Args:
        results: Of that machine. What it did not run is not testable there, and the reason says so.
    """
    evidence = Evidence(results)
    machine = results.environment.machine
    return tuple(Judged(claim, claim.judge(evidence), scale_of(claim, evidence), machine) for claim in CLAIMS)


def scale_of(claim: Claim, evidence: Evidence) -> str:
    """Names of the profiles that the claim's experiments were asked for with, each once; empty if none was."""
    planned = (evidence.planned(name) for name in claim.experiments)
    return ", ".join(dict.fromkeys(one.profile for one in planned if one))
