"""Products of gradients and activations that cancel to rounding noise before a layer normalisation
are warned of."""

import warnings

import pytest
import torch

import camport
from camport.errors import CamportWarning, GuardWarning
from camport.plugins import ODAM
from tests.nets import Net, TokenNet, images, seeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", ["hirescam", ODAM(sigma=0.0)])
def test_before_a_layer_normalisation(method, dtype):
    """Whatever a block before the last puts out reaches the class token through layer norms
    alone."""

    class Last(TokenNet):
        """The patch tokens are read through one normalisation, place by place."""

        def head(self, tokens):
            return self.fc(self.norm(tokens)[:, 1:].mean(1))

    net = seeded(Last(width=16, depth=2), dtype=dtype)
    net.norm.eps = 1e-12
    with pytest.warns(
        GuardWarning,
        match=r"at blocks.1: gradients times activations of image 0 cancel .* to \de-\d+ of",
    ):
        camport.explain(net, images(2, (8, 8), dtype), method, 1, "blocks.1")


@pytest.mark.parametrize("method", ["hirescam", "odam"])
def test_elsewhere_nothing_is_said(method):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CamportWarning)
        camport.explain(seeded(Net()), images(), method, 0, "features")
    assert not [w for w in said if issubclass(w.category, GuardWarning)]
