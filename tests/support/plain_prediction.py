"""What each learner of an ensemble predicts, written out, for tests of the fast prediction."""

from __future__ import annotations

import numpy as np


def predict_learners(ensemble, coalitions):
    """The prediction of the process, the quadratic fit, the trees and each member, as columns."""
    signs = np.where(coalitions, 1.0, -1.0)
    columns = [ensemble.process(signs), ensemble.quadratic(signs), ensemble.trees(signs)]
    networks = ensemble.networks
    inputs = signs.astype(np.float32)
    for k in range(len(networks.bias)):
        hidden = np.tanh(inputs @ networks.first[k] + networks.first_bias[k])
        hidden = np.tanh(hidden @ networks.second[k] + networks.second_bias[k])
        value = networks.bias[k] + inputs @ networks.linear[k] + hidden @ networks.last[k]
        columns.append(value + ((inputs @ networks.pairs[k]) * inputs).sum(axis=1))
    return ensemble.mean + ensemble.scale * np.stack(columns, axis=1)
