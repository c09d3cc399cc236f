"""A small map of irregular degrees, and decoders of a CAR whose truth is known, good and bad, by dense algebra."""

import numpy as np
from smallarea.areas import AreaGraph
from smallarea.priors import Decoder, Family

LINEAR_MISTAKES = ("wrong side", "transposed", "white", "smooth")


def lattice(rows: int, columns: int, island: bool = False) -> AreaGraph:
    """A grid with some diagonals, so that degrees vary."""
    number = np.arange(rows * columns).reshape(rows, columns)
    slant = np.column_stack([number[:-1, :-1].ravel(), number[1:, 1:].ravel()])[::3]
    across = np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])
    up = np.column_stack([number[:-1].ravel(), number[1:].ravel()])
    ids = [f"a{k}" for k in range(rows * columns)] + (["alone"] if island else [])
    return AreaGraph.from_edges(ids, np.vstack([across, up, slant]))


def precision(graph: AreaGraph, rho: float) -> np.ndarray:
    """D - rho W on the areas with neighbours, dense."""
    keep = np.flatnonzero(graph.degrees > 0)
    adjacency = graph.adjacency.toarray()[np.ix_(keep, keep)]
    return np.diag(adjacency.sum(axis=1)) - rho * adjacency


def decoder(graph: AreaGraph, of: Family, kind: str = "exact", rho: float | None = None) -> Decoder:
    """The exact root of a CAR, or what may be mistaken for it; with ``rho`` one that takes no hyperparameter."""
    import jax.numpy as jnp
    from jax.scipy.linalg import solve_triangular

    keep = np.flatnonzero(graph.degrees > 0)
    adjacency = graph.adjacency.toarray()[np.ix_(keep, keep)]
    degrees = adjacency.sum(axis=1)
    # Any rotation of the white noise is as good a root; transposed, it mixes areas that have nothing to do with
    # each other.
    rotation = np.linalg.qr(np.random.default_rng(8).standard_normal((len(keep), len(keep))))[0]

    def field(z, strength):
        lower = jnp.linalg.cholesky(jnp.diag(degrees) - strength * adjacency)
        exact = solve_triangular(lower.T, z, lower=False)
        made = {
            "exact": lambda: exact,
            "wrong side": lambda: solve_triangular(lower, z, lower=True),
            "transposed": lambda: rotation @ solve_triangular(lower, z, lower=True),
            "white": lambda: z / jnp.sqrt(degrees),
            "smooth": lambda: 0.5 * exact + 0.5 * (adjacency @ exact) / degrees,
            "shifted": lambda: exact + 0.3 / jnp.sqrt(degrees),
            "bent": lambda: exact + 0.02 * jnp.tanh(exact),
            "skewed": lambda: exact + 0.5 * (degrees * exact**2 - 1.0) / jnp.sqrt(degrees),
        }
        return made[kind]()

    def decode(z, values):
        return jnp.zeros(len(graph.ids)).at[keep].set(field(z, values[0] if rho is None else rho))

    return Decoder(len(graph.ids), len(keep), of.hyperparameters if rho is None else (), decode)
