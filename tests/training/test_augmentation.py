"""The augmentation is its paper's formula, whatever explains,
and leaves the network that is trained as it was."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

import camport
from camport.errors import FlatMapWarning, InputError
from camport.plugins import GroupCAM, Saliency
from camport.testing.fingerprint import changes, fingerprint
from camport.training import ExplanationAugmentation
from tests import nets

LABELS = torch.tensor([1, 0, 3])


def network(dtype=torch.float64):
    return nets.seeded(nets.Net(), dtype=dtype)


def blurred(x, kernel, sigma):
    """A Gaussian blur of an image [c,h,w], one place of the kernel after the other."""
    (h, w), r = x.shape[1:], kernel // 2
    padded, total, out = np.pad(x, ((0, 0), (r, r), (r, r)), "reflect"), 0.0, np.zeros_like(x)
    for i, j in np.ndindex(kernel, kernel):
        weight = np.exp(-((i - r) ** 2 + (j - r) ** 2) / (2 * sigma**2))
        out, total = out + weight * padded[:, i : i + h, j : j + w], total + weight
    return out / total


def resized(m, size):
    """Bilinear, half-pixel centres, of a map [h][w]."""
    out = np.zeros(size)
    for y, x in np.ndindex(*size):
        v, u = (
            (p + 0.5) * n / s - 0.5
            for p, n, s in ((y, m.shape[0], size[0]), (x, m.shape[1], size[1]))
        )
        v, u = min(max(v, 0), m.shape[0] - 1), min(max(u, 0), m.shape[1] - 1)
        i, j = int(v), int(u)
        k, n = min(i + 1, m.shape[0] - 1), min(j + 1, m.shape[1] - 1)
        out[y, x] = (1 - v + i) * ((1 - u + j) * m[i, j] + (u - j) * m[i, n])
        out[y, x] += (v - i) * ((1 - u + j) * m[k, j] + (u - j) * m[k, n])
    return out


def scaled(m):
    return (m - m.min()) / (m.max() - m.min()) if m.max() > m.min() else np.zeros_like(m)


def probability(model, x, label):
    with torch.no_grad():
        return float(model(torch.from_numpy(x)[None]).softmax(1)[0, label])


def paper(model, x, label, groups, kernel, sigma):
    """Section 5 of the paper: masks of groups without weights and de-noising, scored;
    the image by its mean."""
    with torch.no_grad():
        a = model.features(torch.from_numpy(x)[None])[0].numpy()
    background, size = blurred(x, 51, 50.0), x.shape[1:]
    total = np.zeros(a.shape[1:])
    for part in np.array_split(a, min(groups, len(a))):
        m = scaled(np.maximum(part.sum(0), 0))
        up = resized(m, size)
        gain = probability(model, x * up + background * (1 - up), label) - probability(
            model, background, label
        )
        total += gain * m
    heat = scaled(resized(np.maximum(total, 0), size))
    mask = heat >= heat.mean()
    return np.where(mask, x, blurred(x, kernel, sigma)), mask


@pytest.mark.parametrize("groups", [3, 16])
def test_it_is_the_papers_formula(groups):
    model, images = network(), nets.images(size=(28, 32))  # larger than half of the blur's kernel
    method = GroupCAM(groups, theta=0.0, gradient_weights=False)
    augment = ExplanationAugmentation(model, method, "features", kernel=5, sigma=2.0)
    found, labels = augment(images, LABELS)
    assert labels is LABELS
    kept = []
    for x, label, image in zip(images.numpy(), LABELS.tolist(), found.numpy(), strict=True):
        right, mask = paper(model, x, label, groups, 5, 2.0)
        np.testing.assert_allclose(image, right, rtol=0, atol=1e-9)
        kept.append(mask.mean())
    assert any(0.1 < share < 0.9 for share in kept), kept  # neither all nor nothing


def test_a_model_alone_is_explained_by_sixteen_groups_without_weights():
    augment = ExplanationAugmentation(network(), layer="features")
    assert augment.bound.explainer == GroupCAM(16, theta=0.0, gradient_weights=False)
    assert (augment.kernel, augment.sigma) == (51, 50.0)
    assert not augment.bound.explainer.needs_gradients


@pytest.mark.parametrize(
    "method", ["gradcam", "eigencam", "rise", "saliency", "guided_backprop", "scorecam"]
)
@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_any_method_masks_where_its_map_is_at_its_mean(method):
    model, images = network(), nets.images()
    bound = camport.bind(
        model,
        method,
        layer=None if method in ("rise", "saliency", "guided_backprop") else "features",
    )
    heatmap = bound(images, LABELS).heatmap
    found, _ = ExplanationAugmentation(bound, kernel=5, sigma=2.0)(images, LABELS)
    same = (found == images).all(1)
    assert torch.equal(same, heatmap >= heatmap.mean((1, 2), keepdim=True))
    assert bool(same.any())
    assert not bool(same.all())


def test_the_published_programs_plus_would_leave_the_range():
    """x m + x~ + (1 - m), as published, adds what the formula mixes."""
    model, images = network(), nets.images().sigmoid()
    augment = ExplanationAugmentation(model, layer="features")
    found, _ = augment(images, LABELS)
    m, soft = (
        augment.mask(images, LABELS)[:, None],
        v2.functional.gaussian_blur(images, [13, 17], [50.0, 50.0]),
    )
    assert float(found.max()) <= 1
    assert float((images * m + soft + (1.0 - m.double())).max()) > 1.3


def test_one_images_mask_does_not_depend_on_the_others():
    augment = ExplanationAugmentation(network(), layer="features", kernel=5, sigma=2.0)
    images = nets.images()
    together, _ = augment(images, LABELS)
    alone = torch.cat([augment(images[i : i + 1], LABELS[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_a_flat_map_leaves_its_image(recwarn):
    model = network()
    with torch.no_grad():
        # every class has one score whatever the image: no group adds to it
        model.head[-1].weight.zero_()
    images = nets.images()
    found, _ = ExplanationAugmentation(model, layer="features")(images, LABELS)
    assert torch.equal(found, images)
    assert not [w for w in recwarn if issubclass(w.category, FlatMapWarning)]


class Trained(nn.Module):
    """With batch normalisation and dropout, in training mode."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3)
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def trained():
    torch.manual_seed(3)
    model = Trained().train()
    model(torch.randn(8, 3, 16, 16)).square().sum().backward()
    return model


@pytest.mark.parametrize("method", [None, "gradcam"])
def test_the_model_in_training_is_left_as_it_was(method):
    model = trained()
    before, state = fingerprint(model), torch.get_rng_state()
    found, _ = ExplanationAugmentation(model, method)(nets.images(dtype=torch.float32), LABELS)
    assert not list(changes(before, fingerprint(model)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(m.training for m in model.modules())
    assert not found.requires_grad
    assert not any(
        m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules()
    )


def test_it_explains_the_weights_of_that_moment():
    model, images = trained(), nets.images(dtype=torch.float32)
    augment = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)
    first, _ = augment(images, LABELS)
    torch.optim.SGD(model.parameters(), lr=0.3).step()
    second, _ = augment(images, LABELS)
    fresh, _ = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)(
        images, LABELS
    )
    assert torch.equal(second, fresh)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_in_autocast_maps_are_those_of_full_precision(kind):
    model, images = trained(), nets.images(dtype=torch.float32).to(kind)
    augment = ExplanationAugmentation(model, layer="features", kernel=5, sigma=2.0)
    plain = augment.mask(images.float(), LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = augment(images, LABELS)
        mask = augment.mask(images, LABELS)
        assert torch.is_autocast_enabled("cpu")
        model(found).sum().backward()  # and training goes on
    assert found.dtype == kind
    assert torch.equal(mask, plain)


def test_inside_no_grad_and_inference_mode():
    model, images = network(), nets.images()
    augment = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)
    right, _ = augment(images, LABELS)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(augment(images.clone(), LABELS)[0], right)


def test_among_torchvisions_batch_transforms():
    model = network(torch.float32)
    images = tv_tensors.Image(nets.images(dtype=torch.float32))
    augment = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)
    plain = augment(images.as_subclass(torch.Tensor), LABELS)[0]
    found, same = augment((images, LABELS))
    assert same is LABELS
    assert type(found) is tv_tensors.Image
    assert torch.equal(found.as_subclass(torch.Tensor), plain)
    composed = v2.Compose([v2.MixUp(num_classes=5, alpha=0.4), augment])
    assert composed(images, LABELS)[1].shape == (3, 5)
    torch.manual_seed(0)
    blended, shares = v2.MixUp(num_classes=5, alpha=0.4)(images, LABELS)
    assert torch.equal(augment(blended, shares)[0], augment(blended, shares.argmax(1))[0])
    never, _ = v2.RandomApply([augment], p=0.0)(images, LABELS)
    assert torch.equal(never, images)
    assert "Grad-CAM of Net at features, classification" in repr(augment)


def test_behind_a_loader_of_several_workers():
    model, images = network(torch.float32), nets.images(4, dtype=torch.float32)
    labels = torch.tensor([0, 1, 2, 3])
    augment = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)
    right = augment(images, labels)[0]
    loader = DataLoader(TensorDataset(images, labels), 2, num_workers=2)
    found = torch.cat([augment(*batch)[0] for batch in loader])
    torch.testing.assert_close(found, right, rtol=0, atol=1e-6)
    inline = DataLoader(
        TensorDataset(images, labels), 2, collate_fn=lambda rows: augment(*default_collate(rows))
    )
    torch.testing.assert_close(torch.cat([x for x, _ in inline]), right, rtol=0, atol=1e-6)


class Collate:
    """A collate_fn that augments, and can be handed to a worker."""

    def __init__(self, augment):
        self.augment = augment

    def __call__(self, rows):
        return self.augment(*default_collate(rows))


def refused_and_explained_in_a_worker():
    model, images = network(torch.float32), nets.images(2, dtype=torch.float32)
    labels = torch.tensor([0, 1])
    augment = ExplanationAugmentation(model, "gradcam", "features", kernel=5, sigma=2.0)
    right = augment(images, labels)[0]
    loader = DataLoader(
        TensorDataset(images, labels), 2, num_workers=1, collate_fn=Collate(augment)
    )
    with pytest.raises(
        InputError, match=r"weights of when it was started, and 'features\.0\.weight' is trained"
    ):
        next(iter(loader))
    model.requires_grad_(False)
    torch.testing.assert_close(next(iter(loader))[0], right, rtol=0, atol=1e-6)
    model.requires_grad_(True).share_memory()
    torch.testing.assert_close(next(iter(loader))[0], right, rtol=0, atol=1e-6)


@pytest.mark.everything
def test_a_worker_refuses_a_model_that_is_trained_and_explains_a_frozen_one():
    """In a process of its own: autograd's engine runs in no fork of one in which its threads have
    been started."""
    call = f"from {__name__} import refused_and_explained_in_a_worker as run; run()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", call],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ((), "given nothing"),
        ((nets.images(),), "given Tensor; wanted images"),
        ((nets.images(), LABELS, LABELS), "given 3 values of Tensor, Tensor, Tensor"),
        ((nets.images()[0], LABELS), "rank 3"),
        (((255 * nets.images().sigmoid()).byte(), LABELS), "images are uint8"),
        ((nets.images(), LABELS[:2]), "2"),
        (
            (nets.images(), torch.eye(3, 5) + torch.eye(3, 5).roll(1, 1)),
            r"row 0 has its largest value 1 in several",
        ),
        ((nets.images(), LABELS[:, None]), r"labels\[:, 0\]"),
    ],
)
def test_other_batches_are_refused(inputs, match):
    augment = ExplanationAugmentation(network(), "gradcam", "features")
    with pytest.raises(InputError, match=match):
        augment(*inputs)


def test_options_that_do_not_fit_are_refused():
    model = network()
    with pytest.raises(InputError, match="kernel is 4 and sigma"):
        ExplanationAugmentation(model, kernel=4)
    with pytest.raises(InputError, match="has its method and layer"):
        ExplanationAugmentation(camport.bind(model, "gradcam", "features"), "layercam")
    with pytest.raises(camport.CamportError, match="gradcamm"):
        ExplanationAugmentation(model, "gradcamm")
    assert isinstance(ExplanationAugmentation(model, Saliency).bound.explainer, Saliency)
