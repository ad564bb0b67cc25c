"""Differential tests of the methods that are algebra on activations and gradients;
see `test_oracles`."""

import numpy as np
import pytest
import torch

import camport
from camport.adapters import ClassificationAdapter
from camport.plugins import DFF, FEM, KPCACAM, ODAM, EigenCAM, FinerCAM
from camport.plugins.dff import factorised
from tests.nets import GapNet, seeded
from tests.plugins.test_oracles import TARGET, X, behind, close, from_grad_cam, raw

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason='pip install "camport[oracles]"')
torchcam = pytest.importorskip("torchcam.methods")

pytestmark = pytest.mark.filterwarnings("ignore")


def signed_from_grad_cam(cls, model):
    """The library's image before its ReLU."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with cls(model=model, target_layers=[model.features]) as cam:
        cam(input_tensor=X, targets=[ClassifierOutputTarget(int(c)) for c in TARGET])
        a = cam.activations_and_grads.activations[0].double().cpu().numpy()
        g = cam.activations_and_grads.gradients
        g = g[0].double().cpu().numpy() if g else None
        return torch.from_numpy(cam.get_cam_image(X, model.features, None, a, g, False)).double()


def close_up_to_sign(ours, theirs, bound=1e-6):
    side = torch.sign((ours.double() * theirs).sum((1, 2), keepdim=True))
    close(ours, theirs * side, bound)


def test_gradcam_elementwise_equals_grad_cam():
    close(
        raw(behind(), "gradcam_elementwise"),
        from_grad_cam(pytorch_grad_cam.GradCAMElementWise, behind()),
    )


def test_eigencam_equals_grad_cam_up_to_sign():
    close_up_to_sign(
        raw(behind(), EigenCAM(centre=True)),
        signed_from_grad_cam(pytorch_grad_cam.EigenCAM, behind()),
    )


def test_eigengradcam_equals_grad_cam_up_to_sign():
    close_up_to_sign(
        raw(behind(), "eigengradcam"), signed_from_grad_cam(pytorch_grad_cam.EigenGradCAM, behind())
    )


@pytest.mark.parametrize("kernel", ["sigmoid", "rbf", "poly", "linear"])
def test_kpcacam_equals_grad_cam_up_to_sign(kernel):
    def library(**options):
        return pytorch_grad_cam.KPCA_CAM(kernel=kernel, **options)

    close_up_to_sign(
        raw(behind(), KPCACAM(kernel=kernel)), signed_from_grad_cam(library, behind()), 1e-5
    )


def test_fem_equals_grad_cam():
    close(
        raw(behind(), FEM(preset="grad-cam")), signed_from_grad_cam(pytorch_grad_cam.FEM, behind())
    )


def test_odam_without_smoothing_is_hirescam():
    close(raw(behind(), ODAM(sigma=0.0)), from_grad_cam(pytorch_grad_cam.HiResCAM, behind()))


def test_shapleycam_equals_grad_cam():
    model = behind()
    with pytorch_grad_cam.ShapleyCAM(model=model, target_layers=[model.features]) as cam:
        x = X.clone().requires_grad_()
        y = cam.activations_and_grads(x).gather(1, TARGET[:, None]).sum()
        torch.autograd.grad(y, x, create_graph=True)
        a, g = cam.activations_and_grads.activations[0], cam.activations_and_grads.gradients[0]
        weights = torch.from_numpy(cam.get_cam_weights(x, None, None, a, g))
    theirs = (weights[:, :, None, None] * a.detach()).sum(1).relu()
    close(raw(model, "shapleycam"), theirs)
    plain = raw(model, "gradcam")
    assert (theirs - plain).norm() > 1e-2 * theirs.norm()  # the curvature counts in this network


def test_rest_score_equals_grad_cam():
    """Behind a linear head the logit has no curvature, and the paper's own score has."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputReST

    model = seeded(GapNet())
    with pytorch_grad_cam.ShapleyCAM(model=model, target_layers=[model.features]) as cam:
        x = X.clone().requires_grad_()
        outputs = cam.activations_and_grads(x)
        y = sum(ClassifierOutputReST(int(c))(o) for c, o in zip(TARGET, outputs, strict=True))
        torch.autograd.grad(y, x, create_graph=True)
        a, g = cam.activations_and_grads.activations[0], cam.activations_and_grads.gradients[0]
        weights = torch.from_numpy(cam.get_cam_weights(x, None, None, a, g))
    theirs = (weights[:, :, None, None] * a.detach()).sum(1).relu()
    rest = ClassificationAdapter(score_as="rest")
    close(camport.explain(model, X, "shapleycam", TARGET, "features", rest).raw, theirs)
    assert torch.equal(raw(model, "shapleycam"), raw(model, "gradcam"))


def from_torchcam_finer(base, **options):
    model = behind()
    with torchcam.FinerCAM(
        model, "features", base_method=base, enable_hooks=True, **options
    ) as extractor:
        return extractor(TARGET.tolist(), model(X), normalized=False)[0]


def test_finercam_equals_torchcam():
    close(raw(behind(), "finercam"), from_torchcam_finer(torchcam.GradCAM))
    close(
        raw(behind(), FinerCAM(2, 1.0)),
        from_torchcam_finer(torchcam.GradCAM, gamma=1.0, num_references=2),
    )


def test_any_method_explains_finercams_contrast():
    adapter = ClassificationAdapter(score_as="contrast", nearest=3, strength=0.6)
    ours = camport.explain(behind(), X, "layercam", TARGET, "features", adapter).raw
    close(ours, from_torchcam_finer(torchcam.LayerCAM))


def test_finercam_keeps_a_contrast_that_was_given():
    """grad-cam's target weighs the classes by their probabilities, so one class is compared."""
    from pytorch_grad_cam.utils.model_targets import FinerWeightedTarget

    def library(**options):
        return pytorch_grad_cam.GradCAM(**options)

    model = behind()
    with library(model=model, target_layers=[model.features]) as cam:
        cam(input_tensor=X, targets=[FinerWeightedTarget(int(c), [0], 1.0) for c in TARGET])
        a = cam.activations_and_grads.activations[0].double()
        g = cam.activations_and_grads.gradients[0].double()
    theirs = (g.mean((2, 3), keepdim=True) * a).sum(1).relu()
    adapter = ClassificationAdapter(score_as="contrast", against=0)
    close(camport.explain(model, X, "finercam", TARGET, "features", adapter).raw, theirs)


def test_finercam_refuses_a_score_without_classes():
    with pytest.raises(
        camport.errors.MethodError,
        match=r"finercam contrasts logits of classes.*scores by probability",
    ):
        camport.bind(behind(), "finercam", adapter=ClassificationAdapter(score_as="probability"))


def test_dff_is_as_good_as_scikit_learn():
    """Factors are not unique, so what is compared is how much they explain;
    with one concept they are."""
    from sklearn.decomposition import NMF

    a = camport.explain(behind(), X, "dff", TARGET, "features").activations[0]
    for x in a.flatten(2).transpose(1, 2):
        for concepts in (1, 3, 5):
            where, what = factorised(x, concepts, 500)
            theirs = NMF(concepts, init="nndsvda", max_iter=5000, tol=1e-8).fit(x.numpy())
            ours = (x - where @ what).norm()
            assert ours <= 1.02 * theirs.reconstruction_err_
            if concepts == 1:
                np.testing.assert_allclose(
                    what.numpy(), theirs.components_ / np.linalg.norm(theirs.components_), 1e-4
                )


def test_dff_concepts_are_numbered_by_their_share():
    explanations = [
        camport.explain(behind(), X, DFF(3, concept), TARGET, "features") for concept in range(3)
    ]
    shares = torch.stack([e.raw.sum((1, 2)) for e in explanations])
    assert bool((shares.diff(dim=0) <= 0).all())
    a = explanations[0].activations[0]
    assert torch.equal(DFF(3).maps(a)[:, 1], explanations[1].raw)
