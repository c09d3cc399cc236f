"""Parameters of every task that samples by Hamiltonian Monte Carlo."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

Form = Literal["auto", "density", "filter", "prior"]

FORM: Any = Field(
    "auto",
    description="How the spatial effect enters Hamiltonian Monte Carlo: density (its sparse precision, for car and "
    "leroux), filter (white noise through a graph filter, for every effect), or prior (white noise through the learned "
    "spatial_prior). auto takes prior where one is given, else density for car and leroux and filter for "
    "the others.",
)
SPATIAL_PRIOR: Any = Field(
    None,
    description="Learned spatial prior: a file of 'smallarea prior train', or the name of an architecture (decoder, "
    "beta-vae, graph-filter) to take the prior of this map from the library.",
    json_schema_extra={"path": "input_or_name"},
)
CHAINS: Any = Field(4, ge=1, le=16, description="For Hamiltonian Monte Carlo: chains, run side by side.")
WARMUP: Any = Field(
    300,
    ge=50,
    le=100_000,
    description="For Hamiltonian Monte Carlo: warm-up steps of each chain, which are thrown away.",
)
