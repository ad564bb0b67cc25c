"""Recipro-CAM beside openvino-xai, which pins an old numpy and OpenVINO: it is installed apart."""

import pytest
import torch

from camport.plugins import ReciproCAM
from tests.plugins import apart
from tests.plugins.test_oracles import TARGET, behind, close, raw

pytestmark = pytest.mark.everything
PACKAGES = ["openvino-xai==1.1.0", "openvino==2024.4.0", "openvino-telemetry==2025.2.0"]
THEIRS = """
import sys
import numpy as np, torch
from openvino_xai.methods.white_box.torch import TorchReciproCAM
from tests.plugins.test_oracles import X, behind

model = TorchReciproCAM(behind(), target_layer="features", embed_scaling=False)._model_compiled
with torch.no_grad():
    np.save(sys.argv[2], model(X)["saliency_map"].numpy())
"""


@pytest.fixture(scope="module")
def openvino_xai(tmp_path_factory):
    return apart.install(tmp_path_factory.mktemp("openvino-xai"), PACKAGES)


def test_reciprocam_of_single_places_equals_openvino_xai(openvino_xai, tmp_path):
    every_class = torch.from_numpy(apart.result(THEIRS, openvino_xai, tmp_path))
    close(raw(behind(), ReciproCAM(gaussian=False)), every_class[torch.arange(len(TARGET)), TARGET])
