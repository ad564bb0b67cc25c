"""Where an image lies in a network's frame is the same as tensors (Frame) and with NumPy
(Placement)."""

import numpy as np
import pytest
import torch

from camport.core.maps.geometry import Frame
from camport.runtime import Preprocess

FITS = {
    "stretch": Preprocess(size=(32, 48)),
    "letterbox": Preprocess(size=(32, 48), fit="letterbox"),
    "crop": Preprocess(size=(32, 48), fit="crop", resize=50),
}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("image", [(40, 100), (90, 61)])
def test_boxes_lie_alike_both_ways(fit, image):
    placement = FITS[fit].place(image)
    frame = Frame(placement.image, placement.network, placement.resized, placement.origin)
    boxes = np.array([[3.0, 5.0, 30.5, 22.25], [0.0, 0.0, image[1], image[0]]], np.float32)
    laid = placement.boxes_to_network(boxes)
    np.testing.assert_allclose(
        frame.to_network(torch.from_numpy(boxes)), laid, rtol=1e-5, atol=1e-4
    )
    np.testing.assert_allclose(
        frame.boxes_to_image(torch.from_numpy(laid)), boxes, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("image", [(40, 100), (90, 61)])
def test_maps_lie_alike_where_they_grow(image):
    """A map that shrinks has a wider kernel in Placement, for pictures; in Frame none,
    for a graph."""
    maps = np.random.default_rng(0).random((32, 48)).astype(np.float32)
    placement = Preprocess(size=(32, 48)).place(image)
    frame = Frame(placement.image, placement.network, placement.resized, placement.origin)
    laid = frame.to_image(torch.from_numpy(maps)[None])[0]
    np.testing.assert_allclose(placement.to_image(maps), laid, atol=1e-5)
