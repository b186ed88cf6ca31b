"""The best matching of a sparse graph of any size, in which each node has at most one partner."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from ml_engine.arrays import Index


def best_matching(before: Index, after: Index, gain: npt.NDArray[np.float64]) -> Index:
    """Return the links of greatest total gain, at most one successor and predecessor per node.

    A dense matrix grows with the square of a recording's length, and its solution with the cube.
    Here memory and time follow the number of links.

    Args:
        before, after: (n,) numbers from 0 of the two nodes that each link joins; no pair twice.
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
    # The solver matches every node, so each one gets a dummy partner. It treats zero as a missing
    # link; adding one to every weight changes nothing else.
    lonely = np.arange(len(left))
    weights = np.concatenate([gain[rows], np.zeros(len(left))]) + 1.0
    places = (np.concatenate([i, lonely]), np.concatenate([j, len(right) + lonely]))
    graph = csr_array((weights, places), shape=(len(left), len(right) + len(left)))
    chosen_i, chosen_j = min_weight_full_bipartite_matching(graph, maximize=True)
    partner = np.full(len(left), -1)
    partner[chosen_i] = chosen_j
    return np.sort(np.concatenate([sure, rows[partner[i] == j]]))
