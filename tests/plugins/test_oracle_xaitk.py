"""RISE and D-RISE beside xaitk-saliency, which wants an old setuptools: it is installed apart.

It is handed the masks that camport draws, and what the model says through each of them.
"""

import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.plugins import DRISE, RISE
from tests.adapters.detectors import CLASSES, ClassicHead, Detector, FreeHead, awake, photographs
from tests.plugins import apart
from tests.plugins.test_oracles import TARGET, X, behind, close, raw

PACKAGES = [
    "xaitk-saliency==0.15.0",
    "smqtk-classifier==0.21.0",
    "smqtk-core==0.22.0",
    "smqtk-dataprovider==0.20.0",
    "smqtk-descriptors==0.21.0",
    "smqtk-detection==0.24.0",
    "smqtk-image-io==0.19.0",
    "setuptools==81.0.0",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "charset-normalizer==3.5.3",
]
SAMPLES, CELLS = 12, 4
pytestmark = [
    pytest.mark.everything,
    pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning"),
]

SCORING = """
import sys
import numpy as np
from xaitk_saliency.impls.{module} import {name}

given = np.load(sys.argv[1])
np.save(sys.argv[2], {name}().generate(given["reference"], given["perturbed"], given["masks"]))
"""
RISE_SCORING = SCORING.format(module="gen_classifier_conf_sal.rise_scoring", name="RISEScoring")
DRISE_SCORING = SCORING.format(module="gen_detector_prop_sal.drise_scoring", name="DRISEScoring")


@pytest.fixture(scope="module")
def xaitk(tmp_path_factory):
    return apart.install(tmp_path_factory.mktemp("xaitk-saliency"), PACKAGES)


def of_largest(maps):
    """Maps as the library leaves them: divided by their largest magnitude."""
    return maps / maps.abs().amax((1, 2), keepdim=True)


def test_rise_equals_xaitk(xaitk, tmp_path):
    method, model = RISE(SAMPLES, CELLS, 0.4, seed=2), behind()
    masks = method.masks(torch.arange(SAMPLES), X)
    ours = of_largest(raw(model, method, None))
    for i, c in enumerate(TARGET):
        with torch.no_grad():
            clean, seen = model(X[i : i + 1]).softmax(1), model(X[i] * masks[:, None]).softmax(1)
        arrays = {"reference": clean[0].numpy(), "perturbed": seen.numpy(), "masks": masks.numpy()}
        every_class = apart.result(RISE_SCORING, xaitk, tmp_path, **arrays)
        close(ours[i], torch.from_numpy(every_class[c]))


def detections(model, images):
    """[b,n,4+1+k]: boxes whose last pixel is inside them, as the library counts; objectness,
    or what stands for it.

    Boxes are clipped to the image, as detectors report them; one that lies outside as a whole
    stays.
    """
    with torch.no_grad():
        table = model(images)[0]
    if isinstance(model.model[-1], ClassicHead):
        xywh, sure, classes = table[..., :4], table[..., 4:5], table[..., 5 : 5 + CLASSES]
    else:
        table = table.transpose(1, 2)
        xywh, classes = table[..., :4], table[..., 4 : 4 + CLASSES]
        sure = classes.amax(2, keepdim=True)
    low, high = xywh[..., :2] - xywh[..., 2:] / 2, xywh[..., :2] + xywh[..., 2:] / 2
    frame = torch.tensor([images.shape[3], images.shape[2]])
    inside_low, inside_high = low.clamp(min=0).minimum(frame), high.clamp(min=0).minimum(frame)
    inside = (inside_low < inside_high).all(2, keepdim=True)
    low, high = torch.where(inside, inside_low, low), torch.where(inside, inside_high, high)
    return torch.cat([low, high - 1, sure, classes], 2).numpy()


@pytest.mark.parametrize("head", [ClassicHead, FreeHead])
def test_drise_equals_xaitk(head, xaitk, tmp_path):
    model, image = awake(Detector(head())), photographs(size=(32, 64))
    method = DRISE(samples=SAMPLES, cells=CELLS)
    masks = RISE(SAMPLES, CELLS, method.probability, method.seed).masks(
        torch.arange(SAMPLES), image
    )
    found = camport.bind(model, method, adapter=DetectionAdapter(threshold=0.0, most=3))(image)
    maps = apart.result(
        DRISE_SCORING,
        xaitk,
        tmp_path,
        reference=detections(model, image)[0, found.figures["index"].numpy()],
        perturbed=detections(model, image * masks[:, None]),
        masks=masks.numpy(),
    )
    assert len(maps) == 3
    # the library divides by how often a pixel was seen, the paper does not
    seen = masks.mean(0) / method.probability
    close(of_largest(found.raw.double() / seen), torch.from_numpy(maps))
