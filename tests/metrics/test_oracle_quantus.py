"""Maps handed to Quantus, and metrics that both have; it is installed apart."""

import numpy as np
import pytest
import torch

import camport
from camport.metrics import EnergyInRegion, Entropy, PointingGame, Sparsity
from tests.nets import GapNet, seeded
from tests.plugins import apart

PACKAGES = [
    "quantus==0.6.0",
    "pandas==3.1.1",
    "cachetools==8.0.2",
    "tqdm==4.70.1",
    "pytz==2026.6",
    "python-dateutil==4.0.0",
    "six==1.17.0",
]
pytestmark = pytest.mark.everything

PROGRAM = """
import sys
import numpy as np
import quantus
import torch
from camport.metrics.quantus import explain_func
from tests.nets import GapNet, seeded

given = np.load(sys.argv[1])
model = seeded(GapNet()).float().eval()
asked = dict(
    model=model, x_batch=given["x"], y_batch=given["y"], s_batch=given["s"], device="cpu", batch_size=3,
    explain_func=explain_func, explain_func_kwargs={"method": "layercam", "layer": "features"},
)
quiet = dict(display_progressbar=False, disable_warnings=True)
plain = dict(normalise=False, abs=False, **quiet)
by_name = {
    "mass": quantus.RelevanceMassAccuracy(**plain),
    "pointing": quantus.PointingGame(**plain),
    "sparseness": quantus.Sparseness(**plain),
    "complexity": quantus.Complexity(**plain),
    "sensitivity": quantus.MaxSensitivity(nr_samples=3, **plain),
    "correlation": quantus.FaithfulnessCorrelation(nr_runs=8, subset_size=40, return_aggregate=False, **plain),
    "flipping": quantus.PixelFlipping(features_in_step=28, **plain),
    "logit": quantus.RandomLogit(num_classes=4, **plain),
    "lipschitz": quantus.LocalLipschitzEstimate(nr_samples=2, **plain),
}
found = [np.array([np.mean(v) for v in metric(**asked)], float) for metric in by_name.values()]
np.save(sys.argv[2], np.stack(found))
"""


def test_maps_and_figures_are_those_of_camport(tmp_path):
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(3, 3, 14, 18, generator=generator), torch.tensor([1, 0, 3])
    region = torch.zeros(3, 14, 18, dtype=torch.bool)
    region[:, 3:9, 4:12] = True
    packages = apart.install(tmp_path / "quantus", PACKAGES)
    given = {"x": x.numpy(), "y": y.numpy(), "s": region[:, None].numpy()}
    found = apart.result(PROGRAM, packages, tmp_path, **given)
    heatmap = camport.explain(seeded(GapNet()).float().eval(), x, "layercam", y, "features").heatmap
    ours = [
        EnergyInRegion()(heatmap, region),
        PointingGame()(heatmap, region),
        Sparsity()(heatmap),
        Entropy()(heatmap),
    ]
    np.testing.assert_allclose(found[:4], torch.stack(ours).numpy(), rtol=1e-5)
    assert np.isfinite(found).all()
    sensitivity, lipschitz = found[4], found[8]
    assert (sensitivity > 0).all()  # the changed images were explained anew
    assert (lipschitz > 0).all()
