"""What the commands of ``smallarea prior`` teach."""

from __future__ import annotations

from smallarea.cli.texts import LAYER

_PRIOR = "PRIOR is a prior file, or a name in the library or how it begins, for example graph-filter."

TRAIN = f"""Train a spatial prior for a geography and certify it.

{LAYER} A saved graph (--graph) will do instead, except for a Gaussian process.

The certificate compares draws of the prior with the exact one: variances, correlations, covariances, and posteriors of
simulated data. A prior that misses its bars is still written, and every use of it warns.

\b
A graph filter of a proper CAR, which serves any geography, with its report:
  smallarea prior train counties.gpkg --id-field GEOID --output filter.safetensors --report filter.html

\b
A network for rho up to 0.99, kept in the library:
  smallarea prior train counties.gpkg --id-field GEOID --architecture decoder --keep

\b
A Gaussian process averaged over the polygons, with a checkpoint to go on from:
  smallarea prior train counties.gpkg --id-field GEOID --architecture decoder --family gp \\
      --checkpoint training.npz --output gp.safetensors"""

VERIFY = f"""Compute the fidelity certificate of a prior on a geography.

{_PRIOR} {LAYER} Without LAYER and --graph, the geography is that of the prior itself.

A prior of another geography is refused with the areas that differ, unless it is a graph-filter. A missed bar is no
error: the exit code is 0, and the warnings say what is missed.

\b
A map of the certificate and its report:
  smallarea prior verify decoder.safetensors counties.gpkg --id-field GEOID \\
      --output certificate.gpkg --report certificate.html

\b
A graph filter on another map, and a copy that is certified for it:
  smallarea prior verify filter.safetensors tracts.gpkg --id-field GEOID --certified tracts.safetensors"""

SHOW = f"""Say what a prior file holds, and whether its certificate passed.

{_PRIOR}

\b
What it is, and the report of the certificate in the file:
  smallarea prior show decoder.safetensors --report certificate.html"""

LIST = """List the priors in the library; with a geography, those that serve it.

LAYER is the polygon layer of that geography. The library is a folder of prior files: that of this user, or --library.
Files that are damaged are listed as such.

\b
Everything that is there, also as a table:
  smallarea prior list --csv priors.csv

\b
What serves these counties:
  smallarea prior list counties.gpkg --id-field GEOID"""

EXPORT = f"""Copy a prior out of the library, checked byte by byte.

{_PRIOR} To put a prior file into a library, copy it into its folder.

\b
The one decoder that is there:
  smallarea prior export decoder --output decoder.safetensors"""
