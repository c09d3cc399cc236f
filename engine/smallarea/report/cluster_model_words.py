"""What models of survey clusters are called, for readers."""

from __future__ import annotations

LABELS = {
    "bartsimp": "BARTSIMP: trees and field",
    "bart": "BART: trees alone",
    "spde": "linear model and field",
    "spde0": "field alone",
}
