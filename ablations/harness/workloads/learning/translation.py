"""BLEU of what a trained encoder-decoder makes of the test part."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ablations.data.multi30k import BEGIN, END
from ablations.harness.cell import Cell
from ablations.harness.errors import MissingExtraError
from ablations.harness.measurement import Translations
from ablations.harness.training import Learn, Multi30k
from ablations.harness.workloads.learning.batches import Material, Model
from ablations.harness.workloads.learning.sentences import Sentences, padded
from reformer.encoder_decoder import ReformerEncoderDecoder
from reformer.generation import Beam, Greedy, Strategy, generate
from reformer.randomness import derived_seed


def load_sacrebleu() -> Any:  # noqa: ANN401  (a module without types)
    """The library that counts.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise MissingExtraError("translation") from None
    return sacrebleu


def translations(model: Model, material: Material, workload: Learn, cell: Cell) -> Translations | None:
    """BLEU, cased, of the first `task.translated` sentences of the test part; `None` of another task.

    Raises:
        MissingExtraError: sacrebleu is not installed.
    """
    if not isinstance(workload.task, Multi30k):
        return None
    assert isinstance(model, ReformerEncoderDecoder), "built for the task"
    assert isinstance(material, Sentences), "built for the task"
    test = material.pairs.test[: workload.task.translated]
    written = list(_written(model, material, [source for source, _ in test], workload.task, cell))
    metric = load_sacrebleu().BLEU()
    bleu = metric.corpus_score(written, [[target for _, target in test]]).score
    return Translations(bleu=bleu, n_sentences=len(test), signature=str(metric.get_signature()))


@torch.no_grad()
def _written(
    model: ReformerEncoderDecoder, material: Sentences, sources: Sequence[str], task: Multi30k, cell: Cell
) -> Iterator[str]:
    model.eval()
    strategy: Strategy = Greedy() if task.beam_size == 1 else Beam(n_beams=task.beam_size, length_penalty=0.6)
    for first in range(0, len(sources), cell.batch):
        some = sources[first : first + cell.batch]
        # One piece of `cell.length` is the end's; what is longer is cut.
        rows = [[*material.pieces.encode(source)[: cell.length - 1], END] for source in some]
        source_BE, valid_BE = (one.to(cell.device) for one in padded(rows))
        seed = derived_seed(cell.seed, "translation", first)
        memory = model.encode(source_BE, seed=seed, valid_BE=valid_BE)
        begin_B1 = torch.full((len(some), 1), BEGIN, device=cell.device)
        found = generate(
            model.decoder,
            begin_B1,
            n_new=cell.length - 1,
            seed=seed,
            strategy=strategy,
            end_token=END,
            memory=memory,
        )
        for token_T, length in zip(found.token_BT.tolist(), found.length_B.tolist(), strict=True):
            yield material.pieces.decode([token for token in token_T[:length] if token != END])
