"""Completed tables that obey skip patterns, where both a question and the one before it have no answer.

A block of questions is put if its conditions hold; whether they do hangs on an answer that is missing. What is seen is
whether anything in the block was answered. With p the probability, by the model of the answers, that the conditions
hold, and a the share of those asked who answer anything in the block,

    P(asked | something answered) = 1,    P(asked | nothing answered) = p (1 - a) / (1 - p a).

A code for "not asked" says that they do not hold, unless it stands where they are known to hold as well.

So an empty block speaks against its having been put, the more the more of those asked answer. The share a is taken from
the rows in question alone, of which ``p a`` answered something: where an empty answer ended the block for everybody
(nobody of them answered anything in it), a is zero, and the emptiness says nothing. What is missing may depend on
everything observed, but not on the missing answer itself; of that, a and p could not be told apart.

The rows are drawn by an independence sampler: each round proposes a whole row from the model, so that its other missing
answers fit the one that decides, and accepts it by the ratio of the weights ``1 - a`` (asked, nothing answered), 1 (not
asked, nothing answered) and 0 (not asked, but answered; asked, against the code). The share a is drawn anew each round
from its Beta posterior under Jeffreys' prior. Blocks count as independent of each other given the answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.encoded import EncodedTable
from smallarea.survey.imputation.method import Sampler
from smallarea.survey.imputation.skips import keep_skips

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Rounds follow from how often a proposal is refused; the start is then forgotten but for a hundredth.
_FEWEST_ROUNDS, _MOST_ROUNDS = 8, 40
_FORGOTTEN = 0.01
_JEFFREYS = 0.5


@dataclass(frozen=True)
class OpenBlocks:
    """Rows of which it is open whether blocks of questions were put, and whether they answered any of them.

    Attributes
    ----------
    rows : ndarray of int, shape (r,)
        Rows of the table with such a block.
    first : tuple of int, length B
        The first question of each block.
    open : ndarray of bool, shape (r, B)
        Whether it hangs on a missing answer that the block was put.
    answered : ndarray of bool, shape (r, B)
        Whether any of its questions has an answer, among those open.
    shut : ndarray of bool, shape (r, B)
        Whether a code says that it was not put; such a block is not among those open.
    """

    rows: NDArray[np.int64]
    first: tuple[int, ...]
    open: Mask
    answered: Mask
    shut: Mask


def complete_table(encoded: EncodedTable, sampler: Sampler, rng: np.random.Generator) -> Vector:
    """Draw one completed table that obeys the skip patterns.

    Parameters
    ----------
    encoded : EncodedTable
        The table.
    sampler : callable
        Draws rows on the working scale: `smallarea.survey.imputation.method.Fitted.sampler`.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (n, V)
        In numbers, as `EncodedTable.to_numbers` gives them, but with NaN where a question was not put.
    """
    numbers = encoded.to_numbers(sampler(None))
    blocks = open_blocks(encoded)
    if len(blocks.rows):
        numbers[blocks.rows] = _settle(encoded, blocks, numbers[blocks.rows], sampler, rng)
    keep_skips(encoded.skips, numbers, encoded.lost, rng)
    return numbers


def open_blocks(encoded: EncodedTable) -> OpenBlocks:
    """Find the blocks that hang on missing answers, of which somebody in that case answered something or has a code.

    Parameters
    ----------
    encoded : EncodedTable
        The table.

    Returns
    -------
    OpenBlocks
        Without rows where emptiness says nothing.
    """
    skips = encoded.skips
    members: dict[frozenset[object], list[int]] = {}
    for variable, gates in skips.gates.items():
        members.setdefault(frozenset((gate.variable, gate.condition) for gate in gates), []).append(variable)
    first, open_, answered, shut = [], [], [], []
    for block in members.values():
        hangs = skips.open_gates(encoded.numbers, block[0], encoded.unasked)
        said = hangs & ~np.isnan(encoded.numbers[:, block]).all(axis=1)
        coded = hangs & np.any([skips.shut(encoded.numbers, encoded.lost, one) for one in block], axis=0)
        if said.any() or coded.any():
            first.append(block[0])
            open_.append(hangs & ~coded & said.any())
            answered.append(said)
            shut.append(coded)
    if not first:
        nothing = np.zeros((0, 0), dtype=bool)
        return OpenBlocks(np.empty(0, dtype=np.int64), (), nothing, nothing, nothing)
    hanging, barred = np.column_stack(open_), np.column_stack(shut)
    rows = np.flatnonzero((hanging | barred).any(axis=1))
    return OpenBlocks(rows, tuple(first), hanging[rows], np.column_stack(answered)[rows], barred[rows])


def _settle(
    encoded: EncodedTable, blocks: OpenBlocks, numbers: Vector, sampler: Sampler, rng: np.random.Generator
) -> Vector:
    """Draw the rows in question anew until whether questions were put agrees with who answered."""
    empty = blocks.open & ~blocks.answered
    asked = _asked(encoded.rows(blocks.rows), blocks, numbers)
    rounds = _rounds(blocks)
    for number in range(_MOST_ROUNDS):
        impossible = _impossible(blocks, asked)
        chosen = np.flatnonzero(impossible | (empty.any(axis=1) & (number < rounds)))
        if not len(chosen):
            break
        silent = np.log1p(-_shares(blocks, asked, rng))
        part = encoded.rows(blocks.rows[chosen])
        proposed = part.to_numbers(sampler(blocks.rows[chosen]))
        then = _asked(part, _of(blocks, chosen), proposed)
        possible = ~_impossible(_of(blocks, chosen), then)
        gain: Vector = ((then & empty[chosen]) @ silent) - ((asked[chosen] & empty[chosen]) @ silent)
        taken = possible & (impossible[chosen] | (np.log(rng.random(len(chosen))) < gain))
        numbers[chosen[taken]] = proposed[taken]
        asked[chosen[taken]] = then[taken]
    return numbers


def _impossible(blocks: OpenBlocks, asked: Mask) -> Mask:
    """Whether a block was answered that was not put, or put although a code says that it was not, shape (r,)."""
    return np.asarray(np.any((blocks.answered & ~asked) | (blocks.shut & asked), axis=1))


def _of(blocks: OpenBlocks, chosen: NDArray[np.int64]) -> OpenBlocks:
    return OpenBlocks(
        blocks.rows[chosen], blocks.first, blocks.open[chosen], blocks.answered[chosen], blocks.shut[chosen]
    )


def _rounds(blocks: OpenBlocks) -> int:
    """Return the rounds: a proposal against which emptiness speaks is made and refused with probability p a."""
    share = 1.0 - float(np.prod(1.0 - blocks.answered.sum(axis=0) / np.maximum(blocks.open.sum(axis=0), 1)))
    if share <= 0.0:
        return 0
    needed = np.log(_FORGOTTEN) / np.log(share) if share < 1.0 else _MOST_ROUNDS
    return int(np.clip(np.ceil(needed), _FEWEST_ROUNDS, _MOST_ROUNDS))


def _shares(blocks: OpenBlocks, asked: Mask, rng: np.random.Generator) -> Vector:
    """Draw how many of those asked answer anything in each block."""
    said = blocks.answered.sum(axis=0)
    not_said = (blocks.open & ~blocks.answered & asked).sum(axis=0)
    drawn = rng.beta(_JEFFREYS + said, _JEFFREYS + not_said)
    return np.asarray(np.minimum(drawn, 1.0 - np.finfo(float).eps))


def _asked(part: EncodedTable, blocks: OpenBlocks, numbers: Vector) -> Mask:
    """Whether each block was put, shape (r, B), if the rows' answers are these."""
    known = numbers.copy()
    for variable in part.skips.order:
        if part.skips.of(variable):
            known[~part.skips.asked(known, variable) & part.lost[:, variable], variable] = np.nan
    return np.column_stack([part.skips.asked(known, variable) for variable in blocks.first])
