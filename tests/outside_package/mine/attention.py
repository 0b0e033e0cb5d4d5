import torch
from torch import Tensor, nn

from reformer.config import ReformerConfig


class LinearAttention(nn.Module):
    """With features of one more than the exponential linear unit, and sums over the past in place of a softmax."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor) -> Tensor:
        query_BHLK, key_BHLK = (nn.functional.elu(one) + 1 for one in (query_BHLK, key_BHLK))
        weight_BHLL = query_BHLK @ key_BHLK.transpose(-1, -2)
        if self.causal:
            weight_BHLL = weight_BHLL.tril()
        return weight_BHLL @ value_BHLK / weight_BHLL.sum(-1, keepdim=True)


class LinearModel(nn.Module):
    """Layers of such attention."""

    def __init__(self, config: ReformerConfig) -> None:
        super().__init__()
        width = config.n_heads * config.d_head
        self.n_heads = config.n_heads
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.inputs = nn.ModuleList(nn.Linear(config.d_model, 3 * width) for _ in range(config.n_layers))
        self.outputs = nn.ModuleList(nn.Linear(width, config.d_model) for _ in range(config.n_layers))
        self.attention = LinearAttention(causal=config.causal)
        self.head = nn.Linear(config.d_model, config.vocab_size)

    def forward(self, token_BL: Tensor) -> Tensor:
        x_BLD = self.embedding(token_BL)
        for into, out_of in zip(self.inputs, self.outputs, strict=True):
            vectors = into(x_BLD).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
            x_BLD = x_BLD + out_of(self.attention(*vectors).transpose(1, 2).flatten(2))
        logits_BLV: Tensor = self.head(torch.nn.functional.layer_norm(x_BLD, x_BLD.shape[-1:]))
        return logits_BLV
