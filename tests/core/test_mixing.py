"""Models that mix the images of a batch: each image is explained as the model sees it alone."""

import pytest
import torch
from torch import nn

import camport
from camport.core.registry import explainer
from camport.core.scorer import Scorer
from camport.errors import DoubtWarning, ExportError
from camport.export import to_onnx
from tests.nets import Net, images, seeded

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


def centred(x):
    return x - 0.5 * x.mean(0, keepdim=True)


def ranked(x):
    return x + torch.arange(len(x), dtype=x.dtype)[x.mean((1, 2, 3)).argsort().argsort()].view(
        -1, 1, 1, 1
    )


def attended(x):
    flat = x.flatten(1)
    return ((flat @ flat.T / flat.shape[1]).softmax(1) @ flat).view_as(x)


def before(x):
    return torch.cat([x[:1], x[1:] - 0.5 * x[:-1]])


def behind(x):
    return torch.cat([x[:-1] - 0.5 * x[1:], x[-1:]])


def statistics(x):
    return nn.functional.batch_norm(x, None, None, training=True) + x


def stretched(x):
    return (x - x.min()) / (x.max() - x.min())


MIXING = [centred, ranked, attended, before, behind, statistics, stretched]


class Mixes(nn.Module):
    """Mixes images before the layer, or behind it."""

    def __init__(self, mix, late=False):
        super().__init__()
        self.net, self.mix, self.late = Net(), mix, late

    @property
    def features(self):
        return self.net.features

    def forward(self, x):
        if self.late:
            return self.net.head(self.mix(self.net.features(x)))
        return self.net(self.mix(x))


METHODS = {
    "rise": {"samples": 12},
    "scorecam": {},
    "groupcam": {"groups": 3},
    "occlusion": {"patch": (4, 4), "stride": (4, 4)},
    "ablationcam": {},
    "smoothgrad": {"samples": 4},
    "iscam": {"samples": 3},
}


def made(method, **options):
    return explainer(method)(**options)


def alone(model, method, x, **options):
    """One variant of one image at a time."""
    bound = camport.bind(
        model, made(method, **options), "net.features" if method in LAYERED else None, chunk=1
    )
    return bound(x, 1)


LAYERED = ("scorecam", "groupcam", "ablationcam", "iscam", "hirescam", "gradcam")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mix", MIXING[:2])
def test_variants_of_an_image_are_run_one_at_a_time(method, mix):
    model, x = seeded(Mixes(mix, late=method == "ablationcam")), images(1)
    layer = "net.features" if method in LAYERED else None
    explanation = camport.explain(model, x, made(method, **METHODS[method]), 1, layer)
    wanted = alone(model, method, x, **METHODS[method])
    assert torch.allclose(explanation.raw, wanted.raw, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mix", MIXING)
def test_occlusion_by_hand(mix):
    model, x = seeded(Mixes(mix)), images(1, (8, 8))
    found = camport.explain(model, x, made("occlusion", patch=(4, 4), stride=(4, 4)), 1).raw
    whole = model(x)[:, 1]
    for row in range(2):
        for column in range(2):
            covered = x.clone()
            covered[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            fall = (whole - model(covered)[:, 1]).detach()
            assert torch.allclose(found[:, 4 * row, 4 * column], fall, rtol=1e-9)


@pytest.mark.parametrize(
    ("b", "mix", "method"),
    [
        *((3, mix, "hirescam") for mix in MIXING),
        *((2, mix, "saliency") for mix in MIXING),
        (2, centred, "rise"),
    ],
)
def test_several_images_are_explained_alone(b, mix, method):
    model, x = seeded(Mixes(mix)), images(b)
    layer, options = ("net.features" if method in LAYERED else None), METHODS.get(method, {})
    bound = camport.bind(model, made(method, **options), layer)
    targets = torch.arange(b)
    with pytest.warns(DoubtWarning, match="Mixes mixes the images of a batch.*explained alone"):
        explanation = bound(x, targets)
    one = [
        camport.explain(model, x[i : i + 1], made(method, **options), i, layer) for i in range(b)
    ]
    assert torch.allclose(explanation.raw, torch.cat([e.raw for e in one]), rtol=1e-9, atol=1e-12)
    assert torch.allclose(
        explanation.score, torch.cat([model(x[i : i + 1])[:, i] for i in range(b)])
    )
    assert explanation.target.tolist() == list(range(b))


def test_metrics_score_each_image_alone():
    model, x = seeded(Mixes(centred)), images(3)
    scorer = Scorer.of(camport.bind(model, "saliency"), x, torch.tensor([0, 1, 2]))
    wanted = torch.stack([model(x[i : i + 1])[0, i] for i in range(3)])
    assert torch.allclose(scorer.y, wanted)
    assert torch.allclose(scorer(x, probability=False), wanted)


@pytest.mark.parametrize("examples", [1, 2])
def test_a_graph_that_takes_several_images_is_refused(tmp_path, examples):
    bound = camport.bind(seeded(Mixes(centred)).float(), "hirescam", "net.features")
    with pytest.raises(ExportError, match="Mixes mixes the images of a batch"):
        to_onnx(bound, tmp_path / "mixes.onnx", images(examples).float())
    assert not list(tmp_path.iterdir())


class Noisy(Net):
    """Draws numbers in evaluation mode: each image has its own, and none those of another."""

    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn_like(x))


class Counted(Net):
    """Says something else each time."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + self.calls


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [Net, Noisy, Counted])
def test_models_that_do_not_mix_are_run_as_before(make, dtype, recwarn):
    model, x = seeded(make(), dtype=torch.float64).to(dtype), images(3).to(dtype)
    bound = camport.bind(model, "hirescam", "features")
    bound(x, 1)
    again = camport.bind(model, made("rise", samples=8), chunk=8)
    again(x[:1], 1)
    assert bound._mixing.found is again._mixing.alone is False
    assert not [w for w in recwarn if issubclass(w.category, DoubtWarning)]


def test_a_black_batch_tells_nothing_yet():
    """Equal images say nothing; the next batch does."""
    model = seeded(Mixes(centred))
    bound = camport.bind(model, "hirescam", "net.features")
    bound(torch.zeros(2, 3, 14, 18, dtype=torch.float64), 1)
    x = images(2)
    with pytest.warns(DoubtWarning, match="mixes"):
        explanation = bound(x, 1)
    wanted = torch.cat(
        [camport.explain(model, x[i : i + 1], "hirescam", 1, "net.features").raw for i in range(2)]
    )
    assert torch.allclose(explanation.raw, wanted, rtol=1e-9)
