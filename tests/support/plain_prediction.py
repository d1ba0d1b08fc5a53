"""What each learner of an ensemble predicts, written out, for tests of the fast prediction."""

from __future__ import annotations

import numpy as np

from surrogate.ensemble.ensemble import mixed, scaled_retention


def predict_plainly(ensemble, coalitions):
    """The mixture's utilities, each learner computed by itself in double precision."""
    signs = np.where(coalitions, 1.0, -1.0)
    process = ensemble.process(signs)
    near = process
    if ensemble.near is not None:
        near = scaled_retention(ensemble.near(signs), ensemble.warp)
    own = network_outputs(ensemble.networks, coalitions).mean(axis=0)
    networks = ensemble.level + ensemble.spread * own
    return ensemble.warp.to_utility(mixed(process, near, networks, ensemble))


def network_outputs(networks, coalitions):
    """The output of each member for each row."""
    outputs = []
    for k in range(len(networks.bias)):
        state = np.repeat(networks.start[k][None].astype(float), len(coalitions), axis=0)
        for player in range(coalitions.shape[1]):
            inner = state @ networks.read[k, player] + networks.offset[k, player]
            update = np.tanh(inner) @ networks.write[k, player]
            state += np.where(coalitions[:, player, None], update, 0.0)
        signs = np.where(coalitions, 1.0, -1.0)
        outputs.append(state @ networks.out[k] + networks.bias[k] + signs @ networks.linear[k])
    return np.stack(outputs)
