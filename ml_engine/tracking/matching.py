"""Who goes with whom, when each may go with one: the best matching of a sparse graph, however
large.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from ml_engine.arrays import Index


def best_matching(before: Index, after: Index, gain: npt.NDArray[np.float64]) -> Index:
    """Return the links of greatest total gain in which nobody has more than one successor or
    predecessor.

    A matrix of all by all grows with the square of a recording's length, and the time to solve it
    with the cube; here both follow the number of links.

    Args:
        before, after: (n,) numbers from 0 of the two that each link joins; no pair twice.
        gain: (n,); links without a gain are never chosen.

    Returns:
        Rows of the chosen links, ascending.
    """
    rows = np.flatnonzero(gain > 0)
    if not len(rows):
        return rows
    alone: npt.NDArray[np.bool_] = (np.bincount(before[rows])[before[rows]] == 1) & (
        np.bincount(after[rows])[after[rows]] == 1
    )
    sure, rows = rows[alone], rows[~alone]
    if not len(rows):
        return sure
    left, i = np.unique(before[rows], return_inverse=True)
    right, j = np.unique(after[rows], return_inverse=True)
    # The solver leaves nobody without a partner: each may also go with nobody, which is a partner
    # of its own. It reads zero as no link: one more for all changes nothing.
    lonely = np.arange(len(left))
    weights = np.concatenate([gain[rows], np.zeros(len(left))]) + 1.0
    places = (np.concatenate([i, lonely]), np.concatenate([j, len(right) + lonely]))
    graph = csr_array((weights, places), shape=(len(left), len(right) + len(left)))
    chosen_i, chosen_j = min_weight_full_bipartite_matching(graph, maximize=True)
    partner = np.full(len(left), -1)
    partner[chosen_i] = chosen_j
    return np.sort(np.concatenate([sure, rows[partner[i] == j]]))
