"""Dense networks as spatial priors: their training with PyTorch and their decoding with JAX."""
