"""Learned priors on disk: the prior file, read with suspicion, and the library of a user."""
