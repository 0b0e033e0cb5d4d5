"""What the paper and an earlier replication of it found, as far as numbers can be had: facts to set beside ours."""

from collections.abc import Mapping
from types import MappingProxyType

PAPER = "Kitaev, Kaiser and Levskaya, Reformer: The Efficient Transformer, ICLR 2020"

REPLICATION = "arampacha/reformer_fastai, ML Reproducibility Challenge 2020"

FIGURE_5_TOKENS = 32_768
"""In each step of Figure 5 (right), whatever the length."""

FIGURE_5_LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768)

FIGURE_5_SECONDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "full": (0.168, 0.300, 0.480, 0.983, 1.865, 3.500),
        "LSH-1": (0.102, 0.082, 0.072, 0.067, 0.071, 0.075),
        "LSH-2": (0.148, 0.121, 0.107, 0.103, 0.110, 0.134),
        "LSH-4": (0.203, 0.177, 0.160, 0.163, 0.184, 0.229),
        "LSH-8": (0.316, 0.289, 0.278, 0.294, 0.355, 0.435),
    }
)
"""Figure 5 (right): seconds per step at each length, digitised from the image to 2 to 3 %."""

TABLE_2_EVALUATED = ("dense", "lsh_8", "lsh_4", "lsh_2", "lsh_1")
"""Columns of Table 2: the attention that a trained model is evaluated with."""

TABLE_2: Mapping[str, Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "paper": MappingProxyType(
            {
                "dense": (100, 94.8, 92.5, 76.9, 52.5),
                "lsh_4": (0.8, 100, 99.9, 99.4, 91.9),
                "lsh_2": (0.8, 100, 99.9, 98.1, 86.8),
                "lsh_1": (0.8, 99.9, 99.6, 94.8, 77.9),
            }
        ),
        "earlier replication": MappingProxyType(
            {
                "dense": (100, 1.37, 1.85, 3.00, 4.56),
                "lsh_4": (46.54, 99.71, 99.77, 93.05, 77.62),
                "lsh_2": (75.94, 96.60, 97.45, 97.08, 86.06),
                "lsh_1": (70.65, 76.61, 79.68, 79.34, 56.09),
            }
        ),
    }
)
"""Table 2, accuracy in per cent: of each source, by the attention trained with, one number per evaluation."""
