import pytest
import torch

import camport
from camport.plugins import DRISE, RISE
from tests.nets import GapNet, Net, TokenNet, images, seeded
from tests.plugins import (  # noqa: F401 - fill REFERENCES
    references_algebra,
    references_attention,
    references_input,
    references_perturbation,
)
from tests.plugins.references import REFERENCES


class Behind(Net):
    """The target layer is behind a ReLU, as XGrad-CAM needs it."""

    def __init__(self):
        super().__init__()
        self.features.append(torch.nn.ReLU())


# fewer turns than by default, where the reference is slow
WITH = {"rise": RISE(samples=200), "drise": DRISE(samples=60, cells=4)}
NETS = {
    "cam": GapNet,
    "xgradcam": Behind,
    "dff": Behind,
    "attention_rollout": TokenNet,
    "legrad": TokenNet,
}


def built_in():
    return sorted(
        name for name, info in camport.methods().items() if info.distribution == "camport"
    )


def test_every_method_has_a_reference():
    assert sorted(REFERENCES) == built_in()


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_raw_map_equals_the_paper_in_float64(name):
    model = seeded(NETS.get(name, Net)())
    x = images(2, (8, 10))
    explanation = camport.explain(
        model, x, WITH.get(name, name), target=torch.tensor([1, 3]), layer="features"
    )
    wanted = torch.tensor(
        [REFERENCES[name](model, x[i], c) for i, c in enumerate((1, 3))], dtype=torch.float64
    )
    error = (explanation.raw.double() - wanted).norm() / wanted.norm()
    assert wanted.norm() > 0
    # raw is float32; the second bound holds the float64 map before that cast
    assert error < 1e-6 if name != "saliency" else error < 1e-5


def test_layercam_fuses_layers_as_the_paper_says():
    model = seeded(Net())
    x = images(1)
    shallow = camport.explain(model, x, "layercam", 2, "features.0").raw
    deep = camport.explain(model, x, "layercam", 2, "features.3").raw
    fused = camport.explain(model, x, "layercam", 2, ["features.0", "features.3"]).raw
    deep = torch.nn.functional.interpolate(
        (deep / deep.max())[None], shallow.shape[1:], mode="bilinear"
    )[0]
    wanted = torch.maximum(torch.tanh(2 * shallow / shallow.max()), deep)
    assert torch.allclose(fused, wanted, atol=1e-6)


def test_gradcam_fuses_unnormalised_maps():
    model = seeded(Net())
    x = images(1)
    maps = [
        camport.explain(model, x, "gradcam", 2, layer).raw for layer in ("features.0", "features.3")
    ]
    fused = camport.explain(model, x, "gradcam", 2, ["features.0", "features.3"]).raw
    deep = torch.nn.functional.interpolate(maps[1][None], maps[0].shape[1:], mode="bilinear")[0]
    assert torch.allclose(fused, torch.maximum(maps[0], deep), atol=1e-6)
