"""The contract of `decoder.evaluate.steps.LayerSource`."""

from __future__ import annotations

import pytest
import torch

__all__ = ["LayerSourceContract"]


class LayerSourceContract:
    """A layer source brings the weights of one layer in, for as long as they are needed.

    - Inside the context the layer holds the weights of the checkpoint; outside it holds none.
    - Layers may be asked for in any order, and again.
    - The context is left in good order by an exception, too.
    - One layer at a time; a layer that does not exist is refused with a ValueError.

    Fixtures: `source`; `layers`, the modules that it fills; `wanted`, for every layer its weights.
    """

    def test_weights_are_there_inside_and_gone_outside(self, source, layers, wanted):
        for index in [*range(len(layers)), 0, 2, 2, 1]:
            with source.resident(index):
                self.holds(layers[index], wanted[index])
            assert self.is_empty(layers[index])

    def test_an_exception_leaves_it_in_good_order(self, source, layers, wanted):
        with pytest.raises(KeyError), source.resident(1):
            raise KeyError
        assert self.is_empty(layers[1])
        with source.resident(1):
            self.holds(layers[1], wanted[1])

    def test_one_layer_at_a_time(self, source, layers, wanted):
        with source.resident(0):
            with pytest.raises(ValueError, match="layer 1"), source.resident(1):
                pass
            self.holds(layers[0], wanted[0])

    def test_no_other_layers(self, source, layers):
        for index in (-1, len(layers)):
            with pytest.raises(ValueError, match=f"layer {index}"), source.resident(index):
                pass

    def holds(self, layer, wanted):
        found = layer.state_dict()
        assert list(found) == list(wanted)
        for name, tensor in wanted.items():
            assert torch.equal(found[name].cpu(), tensor), name

    def is_empty(self, layer):
        return all(tensor.device.type == "meta" for tensor in layer.state_dict().values())
