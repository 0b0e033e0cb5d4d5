"""What fits into a memory budget: the big Reformers (C14), contexts of a million tokens (C21), the longest sequence."""

from ablations.claims.claim import Claim
from ablations.claims.evidence import Evidence, NoEvidenceError, why_not
from ablations.claims.parts import Answer, Part, judged_by, true
from ablations.harness.cell import Capacity, Cell
from ablations.report.groups import Attempt, Group

GIB = 2**30
DEEP, LONG, WIDE = 20, 65536, 1024
"""The paper's big model: layers, tokens, width."""
AUTHORS_WIDE = 256
"""Of the authors' model of half a million tokens."""
NARROWER = (
    "Of a model that is narrower than the paper's, activations per width are what is tested: parameters, their "
    "gradients and the optimiser's state grow with the square of the width, and take a smaller share here"
)
HALF_A_MILLION, MILLION = 2**19, 2**20


def _settled(groups: tuple[Group, ...]) -> list[tuple[Group, Attempt]]:
    """What trained, and what ran out of memory; other ends say nothing of memory.

    Raises:
        NoEvidenceError: There is nothing of the kind.
    """
    found = [(group, one) for group in groups for one in group.attempts if one.status in ("ok", "oom")]
    if not found:
        raise NoEvidenceError(why_not(groups))
    return found


def _budget(cell: Cell) -> float:
    """In bytes; no bound is what the machine has."""
    workload = cell.workload
    limit = workload.budget_bytes if isinstance(workload, Capacity) else None
    return float("inf") if limit is None else limit


def _size(cell: Cell) -> str:
    budget = _budget(cell)
    within = "" if budget == float("inf") else f" within {budget / GIB:.3g} GiB"
    return f"{cell.config.n_layers} layers, {cell.length:,} tokens, d_model {cell.config.d_model}{within}"


def _fits(evidence: Evidence) -> Answer:
    """The deepest of the longest Reformers."""
    groups = evidence.groups("deep_and_long", kind="capacity", variant="reformer")
    settled = _settled(groups)
    group, attempt = max(settled, key=lambda one: (one[1].cell.length, one[1].cell.config.n_layers))
    words = "trained" if attempt.status == "ok" else attempt.reason
    return true(f"{_size(attempt.cell)}: {words}", [group], holds=attempt.status == "ok")


def _at_paper_size(evidence: Evidence) -> Answer:
    """Whether that was as deep and long as the paper's, within as much memory for each unit of width."""
    groups = evidence.groups("deep_and_long", kind="capacity", variant="reformer")
    trained = [(group, one.cell) for group, one in _settled(groups) if one.status == "ok"]
    if not trained:
        raise NoEvidenceError("no Reformer trained there")
    big = [(group, cell) for group, cell in trained if _is_big(cell)]
    group, cell = (big or trained)[-1]
    return Answer("holds" if big else "cannot tell", _size(cell), (group,))


def _is_big(cell: Cell) -> bool:
    return cell.config.n_layers >= DEEP and cell.length >= LONG and _within_share(cell, 16 * GIB, WIDE)


def _within_share(cell: Cell, budget: int, width: int) -> bool:
    """Whether the cell had no more than this budget of a model of that width, in proportion to its own width.

    What is as long as the sequence takes memory in proportion to the width; parameters take less than that.
    """
    return _budget(cell) <= budget * cell.config.d_model / width


def _dense_does_not(evidence: Evidence) -> Answer:
    groups = tuple(
        group
        for variant in ("dense", "transformer")
        for group in _planned(evidence, variant)
        if group.cell.length >= _longest_reformer(evidence)
    )
    if not groups:
        raise NoEvidenceError("deep_and_long has no dense model of the Reformer's length")
    settled = _settled(groups)
    failed = all(one.status == "oom" for _, one in settled)
    words = "; ".join(f"{group.variant}: {one.words}" for group, one in settled)
    return true(words, groups, holds=failed)


def _planned(evidence: Evidence, variant: str) -> tuple[Group, ...]:
    try:
        return evidence.groups("deep_and_long", kind="capacity", variant=variant)
    except NoEvidenceError:
        return ()


def _longest_reformer(evidence: Evidence) -> int:
    settled = _settled(evidence.groups("deep_and_long", kind="capacity", variant="reformer"))
    return max(attempt.cell.length for _, attempt in settled)


C14 = Claim(
    id="C14",
    place="section 5, Figure 5 (left)",
    says="Reformers of up to 20 layers train on sequences of 64K tokens on one core; dense models of that size do not.",
    paper="up to 20 layers, 64K tokens, d_model 1,024, 16 GB of memory (the text seen in 2 places; the memory is "
    "recalled, unverified)",
    experiments=("deep_and_long",),
    predicate="two training steps of the deepest Reformer at the longest length go through within the budget; they "
    "have 20 layers, 65,536 tokens and 16 GiB, or less in proportion to a width below the paper's 1,024; a dense model "
    "of that length runs out of memory",
    judge=judged_by(
        Part("the Reformer trains", _fits, decisive=True),
        Part("20 layers, 65,536 tokens, within 16 GiB x d_model / 1,024", _at_paper_size),
        Part("a dense model of that length runs out of memory", _dense_does_not),
        note=NARROWER,
    ),
)


def _trains(length: int, budget: int) -> Part:
    def ask(evidence: Evidence) -> Answer:
        settled = _settled(evidence.groups("one_million", kind="capacity"))
        asked = [
            (group, one)
            for group, one in settled
            if one.cell.length >= length and _within_share(one.cell, budget, AUTHORS_WIDE)
        ]
        if not asked:
            group, attempt = max(settled, key=lambda one: one[1].cell.length)
            return Answer("cannot tell", f"the longest tried: {_size(attempt.cell)}: {attempt.words}", (group,))
        trained = [(group, one) for group, one in asked if one.status == "ok"]
        group, attempt = (trained or asked)[0]
        return true(f"{_size(attempt.cell)}: {attempt.words}", [group], holds=bool(trained))

    return Part(f"{length:,} tokens train within {budget // GIB} GiB x d_model / {AUTHORS_WIDE}", ask)


C21 = Claim(
    id="C21",
    place="Google's blog and released code, HuggingFace's documentation",
    says="A million tokens fit one accelerator of 16 GB, half a million fit 8 GB.",
    paper="1M words on 16 GB; 524,288 tokens on 8 GB with 6 layers, d_model 256, d_ff 512, 2 heads, local and LSH in "
    "turns, chunks of 64 (seen in 4 places, the configuration read in code)",
    experiments=("one_million",),
    predicate="two training steps at 524,288 tokens go through within 8 GiB, and at 1,048,576 tokens within 16 GiB, "
    "budgets in proportion to the width, 256 in the authors' model",
    judge=judged_by(_trains(HALF_A_MILLION, 8 * GIB), _trains(MILLION, 16 * GIB), note=NARROWER),
)

LONGER = 4
"""Times the dense model's longest sequence: where memory is quadratic, that takes 16 times the budget."""


def _longer(evidence: Evidence) -> Answer:
    """Bounds of the longest sequences from what trained and what did not, within the smallest budget."""
    budget = min(_budget(group.cell) for group in evidence.groups("max_length", kind="capacity"))
    longest = {variant: _bracket(evidence, variant, budget) for variant in ("reformer", "dense")}
    groups = tuple(group for _, _, found in longest.values() for group in found)
    (fits, fails, _), (dense_fits, dense_fails, _) = longest["reformer"], longest["dense"]
    words = f"Reformer {_between(fits, fails)}, dense {_between(dense_fits, dense_fails)}"
    if dense_fails is not None and fits >= LONGER * dense_fails:
        return Answer("holds", words, groups)
    if fails is not None and fails <= LONGER * dense_fits:
        return Answer("fails", words, groups)
    return Answer("cannot tell", words, groups)


def _bracket(evidence: Evidence, variant: str, budget: float) -> tuple[int, int | None, list[Group]]:
    """The longest length that trained (0 for none), the shortest that did not, and the groups."""
    groups = evidence.groups("max_length", kind="capacity", variant=variant)
    settled = [(group, one) for group, one in _settled(groups) if _budget(one.cell) == budget]
    fits = [one.cell.length for _, one in settled if one.status == "ok"]
    fails = [one.cell.length for _, one in settled if one.status == "oom"]
    return max(fits, default=0), min(fails, default=None), [group for group, _ in settled]


def _between(fits: int, fails: int | None) -> str:
    return f"at least {fits:,} tokens" if fails is None else f"{fits:,} tokens, not {fails:,}"


C18B = Claim(
    id="C18b",
    place="abstract, section 5",
    says="The Reformer trains on sequences that do not fit where attention is dense and every activation is kept.",
    paper="64K tokens, where dense baselines could not run (the text seen in 2 places; no dense length is named)",
    experiments=("max_length",),
    predicate=f"within the same budget the Reformer's longest sequence is at least {LONGER} times the dense model's, "
    "by what trained of the one and what did not of the other",
    judge=judged_by(Part(f"longest sequence at least {LONGER} times the dense model's", _longer, decisive=True)),
)

CLAIMS = (C18B, C14, C21)
