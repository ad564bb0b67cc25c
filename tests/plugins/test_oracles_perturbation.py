"""Differential tests of the methods that run the model many times; see `test_oracles`.
Random draws are injected."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import gaussian_blur

import camport
from camport.core.maps.noise import normal, uniform
from camport.plugins import (
    ISCAM,
    RISE,
    SSCAM,
    AblationCAM,
    GroupCAM,
    Occlusion,
    ReciproCAM,
    ScoreCAM,
)
from tests.nets import Net, seeded
from tests.plugins.test_oracles import TARGET, X, behind, close, from_torchcam, raw

captum = pytest.importorskip("captum.attr", reason='pip install "camport[oracles]"')
torchcam = pytest.importorskip("torchcam.methods")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")

pytestmark = pytest.mark.filterwarnings("ignore")
SIZE = X.shape[-2:]


def constant_channel(value=0.4):
    """A network whose first channel says the same everywhere."""
    model = behind()
    with torch.no_grad():
        model.features[3].weight[0] = 0
        model.features[3].bias[0] = value
    return model


def activations(model, images=X):
    with torch.no_grad():
        return model.features(images)


def probability(model, x, c):
    with torch.no_grad():
        return float(model(x[None]).softmax(1)[0, c])


def by_grad_cam(cls, model):
    """The map made of the library's weights; its own image is min-max with 1e-7 at image size."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(int(c)) for c in TARGET]
    with cls(model=model, target_layers=[model.features]) as cam:
        a = activations(model)
        weights = torch.from_numpy(cam.get_cam_weights(X, model.features, targets, a.numpy(), None))
    return (weights[:, :, None, None] * a).sum(1).relu()


def test_scorecam_equals_grad_cam():
    close(raw(behind(), ScoreCAM("grad-cam")), by_grad_cam(pytorch_grad_cam.ScoreCAM, behind()))


def test_scorecam_equals_torchcam():
    close(raw(behind(), ScoreCAM("torchcam")), from_torchcam(torchcam.ScoreCAM, behind()))


@pytest.mark.parametrize("make", [behind, constant_channel])
def test_scorecam_equals_the_authors_formula(make):
    """Each channel is upsampled first, skipped where it is constant,
    and weighs what the model says through it."""
    model = make()
    theirs = torch.zeros(len(X), *SIZE, dtype=X.dtype)
    for i, c in enumerate(TARGET):
        for channel in activations(model)[i]:
            large = F.interpolate(channel[None, None], SIZE, mode="bilinear", align_corners=False)[
                0, 0
            ]
            span = large.max() - large.min()
            if span > 1e-9:
                theirs[i] += probability(model, X[i] * (large - large.min()) / span, c) * large
    close(raw(model, ScoreCAM("official")), theirs.relu())


def test_scorecams_of_three_libraries_are_three():
    maps = {preset: raw(behind(), ScoreCAM(preset)) for preset in ("paper", "grad-cam", "torchcam")}
    maps["official"] = raw(behind(), ScoreCAM("official"))
    maps = {k: F.interpolate(m[:, None], SIZE, mode="bilinear")[:, 0] for k, m in maps.items()}
    unit = {k: m / m.norm() for k, m in maps.items()}
    for one, other in (("paper", "grad-cam"), ("paper", "torchcam"), ("grad-cam", "torchcam")):
        assert (unit[one] - unit[other]).norm() > 1e-4, (one, other)
    constant = [raw(constant_channel(2.0), ScoreCAM(preset)) for preset in ("paper", "official")]
    assert (
        F.interpolate(constant[0][:, None], SIZE, mode="bilinear")[:, 0] - constant[1]
    ).norm() > 1e-2


@pytest.mark.parametrize("preset", ["paper", "official", "grad-cam", "torchcam"])
def test_a_constant_channel_is_no_nan(preset):
    explanation = camport.explain(constant_channel(), X, ScoreCAM(preset), TARGET, "features")
    assert bool(explanation.raw.isfinite().all())
    assert bool(explanation.heatmap.isfinite().all())


class InjectedNoise:
    """Stands for torchcam's distribution: the noise that camport draws for each channel and
    sample."""

    def __init__(self, samples, draw):
        self.samples, self.draw, self.drawn = samples, draw, 0

    def sample(self, size):
        number, self.drawn = self.drawn % self.samples, self.drawn + 1
        return self.draw(number, size)


def test_sscam_equals_torchcam():
    samples, sigma = 3, 0.7

    def draw(number, size):
        noise = (
            normal(5, torch.tensor([number]), size[2] * size[3]).double().reshape(1, 1, *size[2:])
        )
        return sigma * noise.expand(size)  # here all channels meet the same

    class Injected(torchcam.SSCAM):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._distrib = InjectedNoise(samples, draw)

    theirs = from_torchcam(Injected, behind(), num_samples=samples)
    close(raw(behind(), SSCAM(samples, sigma, seed=5, preset="torchcam")), theirs)


def test_sscam_smooths_the_input_as_the_paper_writes():
    model, (samples, sigma) = behind(), (3, 0.2)
    theirs = torch.zeros(2, 7, 9, dtype=X.dtype)
    for i, c in enumerate(TARGET):
        for channel in activations(model)[i]:
            large = F.interpolate(channel[None, None], SIZE, mode="bilinear")[0, 0]
            span = large.max() - large.min()
            masked = X[i] * ((large - large.min()) / span if span > 0 else 0)
            noise = normal(2, torch.arange(samples), X[0].numel()).double()
            seen = masked + sigma * noise.reshape(samples, *X[0].shape)
            theirs[i] += sum(probability(model, x, c) for x in seen) / samples * channel
    close(raw(model, SSCAM(samples, sigma, "input", seed=2)), theirs.relu())


def test_iscam_equals_torchcam():
    theirs = from_torchcam(torchcam.ISCAM, behind(), num_samples=4)
    close(raw(behind(), ISCAM(4, "torchcam")), theirs)


def test_iscam_of_one_whole_step_is_scorecam():
    close(raw(behind(), ISCAM(1, "linear")), raw(behind(), "scorecam"))


def test_ablationcam_equals_grad_cam():
    """The library keeps scores in single precision, and only ablates to 0 behind a ReLU."""
    assert float(activations(behind()).min()) == 0
    close(raw(behind(), "ablationcam"), by_grad_cam(pytorch_grad_cam.AblationCAM, behind()), 1e-5)


def test_ablationcam_of_grad_cam_ablates_to_minus_ten_million():
    """Where activations are negative somewhere it does not take the channel away,
    as the paper does."""
    model = seeded(Net())
    model.head[0] = torch.nn.Identity()  # which would make 0 of it again
    theirs = by_grad_cam(pytorch_grad_cam.AblationCAM, model)
    ours = raw(model, AblationCAM())
    assert (ours / ours.norm() - theirs / theirs.norm()).norm() > 0.1


@pytest.mark.parametrize(
    ("patch", "stride"), [((4, 5), (2, 3)), ((5, 5), (5, 5)), ((3, 4), (3, 1))]
)
def test_occlusion_equals_captum(patch, stride):
    model = behind()
    theirs = captum.Occlusion(model).attribute(
        X,
        sliding_window_shapes=(3, *patch),
        strides=(3, *stride),
        baselines=0.25,
        target=TARGET,
        perturbations_per_eval=32,
    )
    close(raw(model, Occlusion(patch, stride, 0.25), None), theirs[:, 0])


def upsampled_grids(numbers, cells, p, size, mode, seed):
    """Grids of cells, upsampled to one cell more a side and cut out, by scikit-image."""
    from skimage.transform import resize

    drawn = uniform(seed, torch.as_tensor(numbers), cells * cells + 2).double()
    steps = [-(-n // cells) for n in size]
    masks = []
    for row in drawn:
        grid = (row[: cells * cells] < p).double().reshape(cells, cells).numpy()
        large = resize(
            grid, [(cells + 1) * step for step in steps], order=1, mode=mode, anti_aliasing=False
        )
        top, left = (int(place * step) for place, step in zip(row[-2:], steps, strict=True))
        masks.append(large[top : top + size[0], left : left + size[1]])
    return torch.from_numpy(np.stack(masks))


@pytest.mark.parametrize(("preset", "mode"), [("official", "reflect"), ("paper", "edge")])
def test_rise_equals_the_authors_recipe(preset, mode):
    """Masks as the authors' program makes them, with scikit-image; the draws are camport's."""
    method = RISE(50, 5, 0.3, seed=3, preset=preset)
    masks = upsampled_grids(range(50), 5, 0.3, SIZE, mode, 3)
    assert torch.allclose(method.masks(torch.arange(50), X), masks, atol=1e-6)
    model = behind()
    theirs = torch.zeros(len(X), *SIZE, dtype=X.dtype)
    for i, c in enumerate(TARGET):
        with torch.no_grad():
            scores = model(X[i] * masks[:, None]).softmax(1)[:, c]
        theirs[i] = (scores @ masks.flatten(1)).reshape(SIZE) / 50 / 0.3
    close(raw(model, method, None), theirs)


def test_rise_presets_are_the_published_numbers():
    assert RISE()._numbers() == (4000, 7, 0.5)
    assert RISE(preset="official")._numbers() == (6000, 8, 0.1)


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_rise_masks_are_seen_with_the_probability(preset):
    masks = RISE(4000, 4, 0.3, preset=preset).masks(torch.arange(4000), X)
    assert abs(float(masks.mean()) - 0.3) < 0.01
    assert float(masks.min()) >= 0
    assert float(masks.max()) <= 1


def official_groupcam(model, x, c, groups, kernel, sigma, skip_constant):
    """The authors' newest program in words: upsample, scale,
    keep what the blurred image does not already say."""
    a = activations(model, x[None]).requires_grad_()
    (g,) = torch.autograd.grad(model.head(a)[0, c], a)
    parts = (g.mean((2, 3), keepdim=True) * a.detach()).chunk(groups, 1)
    maps = F.interpolate(
        torch.cat([p.sum(1, keepdim=True) for p in parts]).relu(), SIZE, mode="bilinear"
    )
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    if skip_constant:
        maps = maps[(high > low)[:, 0, 0, 0]]
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    masks = (maps - low) / (high - low)
    background = gaussian_blur(x, [kernel, kernel], [sigma, sigma])
    with torch.no_grad():
        said = model(x * masks + background * (1 - masks)).softmax(1)[:, c]
    gain = (said - probability(model, background, c)).relu()
    return (gain[:, None, None] * maps[:, 0]).sum(0)


@pytest.mark.parametrize("groups", [1, 3, 4, 8])
def test_groupcam_equals_the_authors_formula(groups):
    model = behind()
    method = GroupCAM(groups, kernel=9, sigma=5.0, preset="official")
    theirs = [
        official_groupcam(model, x, c, groups, 9, 5.0, True) for x, c in zip(X, TARGET, strict=True)
    ]
    close(raw(model, method), torch.stack(theirs))


def test_groupcam_of_a_constant_group_is_no_nan():
    """The authors' formula divides 0 by 0 there, and the whole map is lost."""
    model = constant_channel(-1.0)
    x, c = X[1], TARGET[1]
    assert bool(official_groupcam(model, x, c, 8, 9, 5.0, False).isnan().all())
    ours = camport.explain(
        model, x[None], GroupCAM(8, kernel=9, sigma=5.0, preset="official"), c, "features"
    ).raw
    close(ours[0].double(), official_groupcam(model, x, c, 8, 9, 5.0, True))
    paper = camport.explain(model, x[None], GroupCAM(8, kernel=9, sigma=5.0), c, "features")
    assert bool(paper.raw.isfinite().all())
    assert float(paper.heatmap.max()) == 1


def test_groupcam_equals_the_papers_equations():
    """Equations 2 to 7 with numpy's percentile and torchvision's blur; three groups of 3,
    3 and 2 channels."""
    model = behind()
    for x, c in zip(X, TARGET, strict=True):
        a = activations(model, x[None]).requires_grad_()
        (g,) = torch.autograd.grad(model.head(a)[0, c], a)
        weighted = (g.mean((2, 3), keepdim=True) * a.detach())[0]
        background = gaussian_blur(x, [9, 9], [5.0, 5.0])
        base, total = probability(model, background, c), 0.0
        for part in (weighted[:3], weighted[3:6], weighted[6:]):
            m = part.sum(0).relu()
            m = torch.where(m > float(np.percentile(m.numpy(), 70)), m, 0)
            m = (m - m.min()) / (m.max() - m.min()) if m.max() > m.min() else 0 * m
            mask = F.interpolate(m[None, None], SIZE, mode="bilinear")[0, 0]
            total = total + (probability(model, x * mask + background * (1 - mask), c) - base) * m
        ours = camport.explain(model, x[None], GroupCAM(3, kernel=9, sigma=5.0), c, "features").raw[
            0
        ]
        close(ours, total.relu())


def test_groupcam_without_gradient_weights_runs_nothing_backwards():
    """Its groups are of the activations themselves."""
    model = behind()
    method = GroupCAM(3, theta=0.0, kernel=9, sigma=5.0, gradient_weights=False)
    found = camport.explain(model, X, method, torch.tensor(TARGET), "features")
    assert (found.gradients, GroupCAM().needs_gradients, method.needs_gradients) == (
        None,
        True,
        False,
    )
    for x, c, ours in zip(X, TARGET, found.raw, strict=True):
        a, background = (
            activations(model, x[None])[0].detach(),
            gaussian_blur(x, [9, 9], [5.0, 5.0]),
        )
        total = 0.0
        for part in (a[:3], a[3:6], a[6:]):
            m = part.sum(0).relu()
            m = (m - m.min()) / (m.max() - m.min()) if m.max() > m.min() else 0 * m
            mask = F.interpolate(m[None, None], SIZE, mode="bilinear")[0, 0]
            gain = probability(model, x * mask + background * (1 - mask), c) - probability(
                model, background, c
            )
            total = total + gain * m
        close(ours, total.relu())


def test_groupcams_of_the_paper_and_of_the_authors_differ():
    paper, official = (
        raw(behind(), GroupCAM(4, kernel=9, sigma=5.0, preset=p)) for p in ("paper", "official")
    )
    paper = F.interpolate(paper[:, None], SIZE, mode="bilinear")[:, 0]
    assert (paper / paper.norm() - official / official.norm()).norm() > 1e-2


@pytest.mark.parametrize("gaussian", [True, False])
def test_reciprocam_equals_the_authors_recipe(gaussian):
    """A features' vector spread by the 3x3 kernel into an empty map, place by place;
    the padded map is cut back."""
    model = behind()
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=X.dtype) / 16
    kernel = (
        kernel if gaussian else torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=X.dtype)
    )
    a = activations(model)
    theirs = torch.zeros(2, 7, 9, dtype=X.dtype)
    for i, c in enumerate(TARGET):
        for row in range(7):
            for column in range(9):
                alone = torch.zeros(8, 9, 11, dtype=X.dtype)
                alone[:, row : row + 3, column : column + 3] = (
                    a[i, :, row, column, None, None] * kernel
                )
                with torch.no_grad():
                    theirs[i, row, column] = model.head(alone[None, :, 1:-1, 1:-1])[0, c]
    close(raw(model, ReciproCAM(gaussian)), theirs)
