"""Weights and settings from and to HuggingFace transformers' Reformer, written against transformers 5.23.

Reading a checkpoint folder needs safetensors (extra `huggingface`), `to_huggingface` needs transformers (extra
`peers`), the rest neither. What transformers computes and ours does not, and the other way round:

- transformers pads a length that is no multiple of all its chunk lengths. Where that adds a whole chunk to a layer, a
  window that wraps around meets the added chunk in place of a real one; pass such tokens with a `valid_BL` to get the
  same here. Any other length gives the same values as it is.
- A window wider than the ring of chunks counts its chunks twice there, once here.
- Its float32 is 0.008 coarse where an LSH position sees only itself; here such a position returns its value. Padding
  that sees nothing in a local layer gets the sum of its window there and here, but in float64 their mean there.
- In training it also drops out embeddings and the last normalisation, and in the feed-forward half before the
  activation, here after it, which is the same for relu only. Its gradients are wrong with dropout and LSH.
"""

from reformer.huggingface.files import load_huggingface, save_huggingface
from reformer.huggingface.rotations import rotations_like_huggingface
from reformer.huggingface.settings import config_from_huggingface
from reformer.huggingface.weights import HeadBias, from_huggingface, to_huggingface

__all__ = [
    "HeadBias",
    "config_from_huggingface",
    "from_huggingface",
    "load_huggingface",
    "rotations_like_huggingface",
    "save_huggingface",
    "to_huggingface",
]
