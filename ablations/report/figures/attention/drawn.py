"""The model whose attention is drawn, and what a caption says of it."""

from dataclasses import dataclass

from ablations.harness.measurement import AttentionPattern


@dataclass(frozen=True)
class Drawn:
    """The model that is drawn: one seed of one setting.

    Attributes:
        model: Its label and seed in words.
        length: Tokens of its sequences in training.
        patterns: Of its LSH layers, in order.
    """

    model: str
    length: int
    patterns: tuple[AttentionPattern, ...]

    @property
    def last(self) -> AttentionPattern:
        """Of the last LSH layer."""
        return self.patterns[-1]

    @property
    def where(self) -> str:
        """Which head is looked at, and at what, in words."""
        # The last token of a sequence is predicted and not read.
        is_whole = self.last.length >= self.length - 1
        part = "" if is_whole else f", the first {self.last.length} of its {self.length} tokens"
        return (
            f"{self.model}: layer {self.last.layer}, its last with LSH attention, head {self.last.head}, "
            f"whose dense attention is the sharpest of the layer; one sequence held out{part}"
        )
