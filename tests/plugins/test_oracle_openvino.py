"""Recipro-CAM beside openvino-xai, which pins an old numpy and OpenVINO: it is installed apart, and runs in a process
of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from camport.plugins import ReciproCAM
from tests.plugins.test_oracles import TARGET, behind, close, raw

APART = ["openvino-xai==1.1.0", "openvino==2024.4.0", "openvino-telemetry==2025.2.0"]
ROOT = Path(__file__).parents[2]
THEIRS = """
import sys
import numpy as np, torch
from openvino_xai.methods.white_box.torch import TorchReciproCAM
from tests.plugins.test_oracles import X, behind

model = TorchReciproCAM(behind(), target_layer="features", embed_scaling=False)._model_compiled
with torch.no_grad():
    np.save(sys.argv[1], model(X)["saliency_map"].numpy())
"""


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino-xai")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *APART]
    subprocess.run(command, check=True)
    return folder


def test_reciprocam_of_single_places_equals_openvino_xai(apart, tmp_path):
    file = tmp_path / "theirs.npy"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(apart), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", THEIRS, str(file)]
    subprocess.run(command, check=True, env=environment, cwd=ROOT)
    every_class = np.load(file)
    theirs = torch.from_numpy(every_class)[torch.arange(len(TARGET)), TARGET]
    close(raw(behind(), ReciproCAM(gaussian=False)), theirs)
