"""Proof of a learned prior: what is measured of it against the exact one, and the gate that it has to pass."""
