"""The mathematics in plain PyTorch: the specification that every faster implementation is tested against."""
