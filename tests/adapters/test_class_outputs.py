"""What the score is: logits behind a softmax, the classes among several outputs,
rows that are the images'."""

import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.adapters import ClassificationAdapter, FunctionAdapter
from camport.errors import DoubtWarning, InputError, LayerError, ModelError, UnknownNameError
from camport.plugins.occlusion import Occlusion
from camport.plugins.rise import RISE
from camport.plugins.scorecam import ScoreCAM
from tests.nets import Net, images, seeded

X = images(2)
SCORES = {
    "logit": lambda z: z[:, 3],
    "probability": lambda z: z.softmax(1)[:, 3],
    "log_probability": lambda z: z.log_softmax(1)[:, 3],
    "rest": lambda z: z[:, 3] + z.log_softmax(1)[:, 3],
    "contrast": lambda z: z[:, 3] - z[:, 1],
}


class Ending(Net):
    """The network with something behind its logits."""

    def __init__(self, end, classes=5):
        super().__init__(classes)
        self.end = end

    def forward(self, x):
        return self.end(super().forward(x))


def features(model, y_of, x=X):
    """y and its gradient by the target layer, of logits z by plain autograd."""
    a = model.features(x).detach().requires_grad_()
    y = y_of(model.head(a))
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


def explain(model, adapter="classification", target=3, x=X, method="hirescam"):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DoubtWarning)
        return camport.explain(model, x, method, target, "features", adapter)


ENDS = {
    "a module": nn.Softmax(dim=1),
    "a function": lambda z: F.softmax(z, 1),
    "a method, reshaped": lambda z: z.softmax(-1)[:, :, None, None].flatten(2).squeeze(2),
    "of maps": lambda z: nn.Softmax2d()(z[:, :, None, None]),
    "in half and back": lambda z: z.softmax(1).clone().double(),
    "clamped": lambda z: z.softmax(1).clamp(1e-7, 1 - 1e-7),
    "the logarithm": lambda z: z.log_softmax(1),
    "the logarithm of a softmax": lambda z: torch.log(z.softmax(1)),
    "both": lambda z: (z.softmax(1), z),
    "both, named": lambda z: {"probabilities": z.softmax(1), "raw": z},
    "logits that are none": lambda z: SimpleNamespace(logits=z.softmax(1)),
}


@pytest.mark.parametrize("score_as", SCORES)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_ends_in_a_softmax_is_explained_by_its_logits(end, score_as):
    model = seeded(Ending(end))
    against = 1 if score_as == "contrast" else None
    explanation = explain(model, ClassificationAdapter(score_as, against=against))
    y, g = features(model, SCORES[score_as])
    assert torch.allclose(explanation.score.double(), y, atol=1e-5)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-9)


def test_the_outputs_stay_the_models_own():
    model = seeded(Ending(nn.Softmax(dim=1)))
    assert torch.equal(explain(model).outputs, model(X))


def test_a_probability_of_one_has_a_map():
    model = seeded(Ending(lambda z: (z * 1e3).softmax(1)), dtype=torch.float32)
    x = X.float()
    assert float(model(x).detach().amax()) == 1.0
    explanation = explain(model, target=None, x=x)
    top = model(x).argmax(1)
    _, g = features(model, lambda z: 1e3 * z.gather(1, top[:, None])[:, 0], x)
    assert torch.allclose(explanation.gradients[0], g, rtol=1e-4, atol=1e-4 * float(g.abs().max()))


@pytest.mark.parametrize(
    ("score_as", "y_of"),
    [
        ("logit", lambda z: z[:, 3]),
        ("probability", lambda z: z.sigmoid()[:, 3]),
        ("log_probability", lambda z: F.logsigmoid(z)[:, 3]),
        ("rest", lambda z: z[:, 3] + F.logsigmoid(z)[:, 3]),
        ("regression", lambda z: z.sigmoid()[:, 3]),
    ],
)
@pytest.mark.parametrize("end", [nn.Sigmoid(), torch.sigmoid, lambda z: (z + 0).sigmoid_()])
def test_what_ends_in_a_logistic_function_too(end, score_as, y_of):
    model = seeded(Ending(end))
    explanation = explain(model, ClassificationAdapter(score_as))
    y, g = features(model, y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


@pytest.mark.parametrize(
    ("end", "doubted"),
    [
        (nn.Sigmoid(), False),
        (lambda z: z.sigmoid().squeeze(1), False),
        (lambda z: 1 / (1 + torch.exp(-z)), True),
    ],
)
@pytest.mark.parametrize("target", [0, 1])
def test_one_probability_has_the_sign_of_its_logit(end, doubted, target):
    model = seeded(Ending(end, classes=1))
    adapter = ClassificationAdapter("binary")
    if doubted:
        with pytest.warns(DoubtWarning, match="the model's outputs are probabilities"):
            explanation = camport.explain(model, X, "hirescam", target, "features", adapter)
    else:
        explanation = explain(model, adapter, target)
    y, g = features(model, lambda z: z[:, 0] * (2 * target - 1))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-9)


UNSEEN = {
    "by hand": lambda z: z.exp() / z.exp().sum(1, keepdim=True),
    "an average": lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2,
}


@pytest.mark.parametrize("end", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize(
    ("score_as", "y_of"),
    [
        ("logit", lambda p: p[:, 3]),
        ("probability", lambda p: p[:, 3]),
        ("log_probability", lambda p: p.log()[:, 3]),
        ("contrast", lambda p: p.log()[:, 3] - p.log()[:, 1]),
    ],
)
def test_probabilities_without_logits_are_said_and_taken_as_they_are(end, score_as, y_of):
    model = seeded(Ending(end))
    adapter = ClassificationAdapter(score_as, against=1 if score_as == "contrast" else None)
    with pytest.warns(
        DoubtWarning, match="outputs are probabilities, and the logits behind them were not found"
    ):
        explanation = camport.explain(model, X, "hirescam", 3, "features", adapter)
    y, g = features(model, lambda z: y_of(end(z)))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


TAILS = {
    "two groups": lambda z: torch.cat([z[:, :2].softmax(1), z[:, 2:].softmax(1)], 1),
    "the larger of two": lambda z: torch.stack([z.softmax(1), (z / 2).softmax(1)]).amax(0),
    "ordinal": lambda z: z.sigmoid().cumprod(1),
    "noisy or": lambda z: 1 - (1 - z.sigmoid()) * (1 - (z / 2).sigmoid()),
}


@pytest.mark.parametrize("score_as", ["logit", "probability"])
@pytest.mark.parametrize("end", TAILS.values(), ids=TAILS)
def test_probabilities_made_of_probabilities_are_no_logits(end, score_as):
    model = seeded(Ending(end))
    with pytest.warns(
        DoubtWarning, match="outputs are probabilities, and the logits behind them were not found"
    ):
        explanation = camport.explain(
            model, X, "hirescam", 3, "features", ClassificationAdapter(score_as)
        )
    y, g = features(model, lambda z: end(z)[:, 3])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


def test_percent_are_explained_as_they_are_and_make_no_probability():
    model = seeded(Ending(lambda z: z.softmax(1) * 100))
    with pytest.warns(DoubtWarning, match="made of a softmax and are no probabilities themselves"):
        explanation = camport.explain(model, X, "hirescam", 3, "features")
    y, g = features(model, lambda z: 100 * z.softmax(1)[:, 3])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)
    with pytest.raises(
        ModelError,
        match="needs logits or probabilities, and the model's outputs are another function",
    ):
        camport.explain(model, X, "hirescam", 3, "features", ClassificationAdapter("probability"))


def test_a_gate_of_experts_makes_no_probabilities():
    def gated(z):
        g = z[:, :2].softmax(1)
        return g[:, :1] * z + g[:, 1:] * z.flip(1)

    model = seeded(Ending(gated))
    explanation = explain(model, ClassificationAdapter("probability"))
    y, g = features(model, lambda z: gated(z).softmax(1)[:, 3])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


RANKED = {
    "topk": lambda z: z.topk(4),
    "of probabilities": lambda z: z.softmax(1).topk(4),
    "sort": lambda z: z.sort(1, descending=True)[0],
    "softened": lambda z: z.sort(dim=-1).values.softmax(1),
}


@pytest.mark.parametrize("end", RANKED.values(), ids=RANKED)
def test_scores_in_the_order_of_their_values_are_no_classes(end):
    with pytest.raises(ModelError, match=r"in the order of their values \((topk|sort|softmax)\)"):
        camport.explain(seeded(Ending(end)), X, target=1)


def test_the_strongest_places_are_no_ranks_of_classes():
    class Strongest(Net):
        """The mean of each class's four strongest places, WILDCAT (Durand et al. 2017)."""

        def forward(self, x):
            maps = self.head[:3](self.features(x))
            return maps.flatten(2).topk(4, dim=2).values.mean(2)

    model = seeded(Strongest())
    explanation = explain(model)
    assert torch.allclose(explanation.score.double(), model(X)[:, 3], atol=1e-6)


def test_rest_needs_logits():
    with pytest.raises(ModelError, match="score_as='rest' needs logits"):
        camport.explain(
            seeded(Ending(UNSEEN["by hand"])), X, target=1, adapter=ClassificationAdapter("rest")
        )


def test_a_scripted_end_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch.jit; such models are about
        end = torch.jit.trace(nn.Softmax(dim=1), torch.rand(2, 5))
    with pytest.warns(DoubtWarning, match="the model's outputs are probabilities"):
        explanation = camport.explain(seeded(Ending(end)), X, "saliency", 3)
    assert torch.allclose(explanation.score.double(), seeded(Ending(end))(X)[:, 3], atol=1e-6)


def test_logits_are_taken_for_nothing_else():
    """Rows that lie between 0 and 1, behind pooling or by chance, are logits still."""

    class Pooled(Net):
        def forward(self, x):
            return super().forward(x).mul(0.01).add(0.5).clamp(0, 1)

    explanation = explain(seeded(Pooled()), ClassificationAdapter("probability"))
    y, g = features(seeded(Pooled()), lambda z: z.mul(0.01).add(0.5).softmax(1)[:, 3])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


@pytest.mark.parametrize(
    "method", [ScoreCAM(), Occlusion(patch=(4, 4), stride=(4, 4)), RISE(samples=20)]
)
def test_methods_that_mask_take_one_softmax(method):
    """The model's own probability is what the same network without its softmax gives by one."""
    explained = explain(seeded(Ending(nn.Softmax(dim=1))), method=method)
    bare = explain(seeded(Net()), method=method)
    assert torch.allclose(explained.raw, bare.raw, atol=1e-6)


class Two(Net):
    """Features [b,k] and logits, in the shape that `form` makes of them."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        f = self.head[:-1](self.features(x))
        return self.form(f, self.head[-1](f))


FORMS = {
    "a tuple": (lambda f, z: (f, z), "1"),
    "the other way": (lambda f, z: (z, f), "0"),
    "normalised features": (lambda f, z: (F.normalize(f), z), "1"),
    "named": (lambda f, z: {"features": f, "pred": z}, "pred"),
    "named otherwise": (lambda f, z: {"embedding": f, "fc": z}, "fc"),
    "deep": (lambda f, z: {"a": [f], "b": {"cls": z}}, "b.cls"),
    "a loss": (lambda f, z: (f, z, z.sum()), "1"),
    "a softmax": (lambda f, z: (F.normalize(f), z.softmax(1)), "1"),
    "another first axis": (lambda f, z: {"texts": z.T[:, :1].repeat(1, 3), "images": z}, "images"),
    "logits of a kind": (
        lambda f, z: {"image_embeds": f, "logits_per_image": z},
        "logits_per_image",
    ),
    "a column": (lambda f, z: {"score": f[:, :1], "out": z}, "out"),
}


@pytest.mark.parametrize(("form", "name"), FORMS.values(), ids=FORMS)
def test_of_several_outputs_the_classes_are_explained_and_the_others_named(form, name):
    model = seeded(Two(form))
    with pytest.warns(
        DoubtWarning, match=rf"2 outputs that may be its classes; '{name}' .*output='{name}'"
    ):
        explanation = camport.explain(model, X, "hirescam", 3, "features")
    y, g = features(model, SCORES["logit"])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


@pytest.mark.parametrize("output", ["features", "0", 0, "pred", 1, -1])
def test_an_output_is_chosen_by_name_or_number(output):
    model = seeded(Two(lambda f, z: {"features": f, "pred": z}))
    explanation = explain(model, ClassificationAdapter(output=output))
    first = output in ("features", "0", 0)
    a = model.features(X).detach().requires_grad_()
    f = model.head[:-1](a)
    y = (f if first else model.head[-1](f))[:, 3]
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], torch.autograd.grad(y.sum(), a)[0], atol=1e-12)


def test_an_output_that_is_not_there_is_said():
    model = seeded(Two(lambda f, z: {"features": f, "pred": z, "loss": z.sum()}))
    with pytest.raises(UnknownNameError, match="unknown output 'preds'; did you mean 'pred'"):
        explain(model, ClassificationAdapter(output="preds"))
    with pytest.raises(
        ModelError, match=r"output 'loss' is \(\); the classification adapter reads \[b,k\]"
    ):
        explain(model, ClassificationAdapter(output="loss"))


class Known(Two):
    num_classes = 5


def test_as_many_columns_as_classes():
    model = seeded(Known(lambda f, z: {"first": f.detach() * 2, "second": (z + 1) * 3}))
    with pytest.warns(DoubtWarning, match="'second'"):
        explanation = camport.explain(model, X, "hirescam", 3, "features")
    assert torch.allclose(
        explanation.score.double(), features(model, lambda z: (z[:, 3] + 1) * 3)[0], atol=1e-5
    )


class Bag(Net):
    """n images, one row."""

    def forward(self, x):
        return super().forward(x).mean(0, keepdim=True)


METHODS = ("gradcam", "scorecam", "ablationcam", "reciprocam", RISE(samples=20), "saliency")


@pytest.mark.parametrize("method", METHODS)
def test_a_bag_of_images_is_refused(method):
    with pytest.raises(ModelError, match=r"1 row of classes, \(1, 5\), for 2 images"):
        explain(seeded(Bag()), method=method)


def test_a_bag_of_one_image_is_right_where_one_image_runs():
    model = seeded(Bag())
    _, g = features(model, SCORES["logit"], X[:1])
    assert torch.allclose(explain(model, x=X[:1]).gradients[0], g, atol=1e-12)
    with pytest.raises(ModelError, match=r"1 row of classes, \(1, 5\), for [0-9]+ images"):
        explain(model, x=X[:1], method="scorecam")  # its variants would be one bag


class Transposed(Net):
    def forward(self, x):
        return super().forward(x).T


@pytest.mark.parametrize("b", [1, 2, 5])
def test_classes_before_images_are_refused_whatever_their_number(b):
    """With five images [k,b] has the shape of [b,k]."""
    with pytest.raises(
        ModelError, match=r"5 rows of classes, \(5, [12]\), for [12] images?: the first axis"
    ):
        explain(seeded(Transposed()), x=images(b), target=0)


class Views(Net):
    """Two views of each image, folded into the batch."""

    def forward(self, x):
        views = torch.stack([x, x.flip(3)], 1).flatten(0, 1)
        return super().forward(views).unflatten(0, (-1, 2)).mean(1)


@pytest.mark.parametrize("method", METHODS[:4])
@pytest.mark.parametrize("b", [1, 2])
def test_a_layer_with_several_rows_an_image_is_refused(method, b):
    with pytest.raises(
        LayerError, match=rf"layer 'features' puts out \({2 * b}, .* for {b} images"
    ):
        explain(seeded(Views()), x=images(b), method=method)


def test_views_are_explained_at_the_images():
    model = seeded(Views())
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x)[:, 3].sum(), x)
    raw = explain(model, method="saliency").raw
    assert torch.allclose(raw.double(), g.abs().amax(1), atol=1e-6)


class Sequence(Net):
    """[t,b,k], as recurrent readers give it."""

    def forward(self, x):
        z = super().forward(x)
        return torch.stack([z, 2 * z, z.tanh()])


@pytest.mark.parametrize("b", [1, 2, 3])
def test_a_function_gives_a_number_an_image(b):
    x, model = images(b), seeded(Sequence())
    explanation = explain(model, FunctionAdapter(lambda z: z.amax((0, 2))), None, x)
    assert torch.allclose(explanation.score.double(), model(x).amax((0, 2)), atol=1e-6)
    with pytest.raises(
        ModelError, match=r"the function gives \(3,\); wanted floating-point \[b\] with b = [12]"
    ):
        explain(model, FunctionAdapter(), None, x)  # three rows, also where there are three images


class Listed(Net):
    """A dictionary an image, with rows of its own number, as torchvision's detectors give it."""

    def forward(self, x):
        rows = super().forward(x)
        return [{"boxes": row.new_zeros(3, 4), "scores": row[:2]} for row in rows]


def summed(outputs):
    return torch.stack([-row["scores"].sum() for row in outputs])


@pytest.mark.parametrize("method", ["gradcam", "saliency", "occlusion"])
def test_a_function_of_a_list_with_an_entry_an_image(method):
    explanation = explain(seeded(Listed()), FunctionAdapter(summed), None, X[:1], method)
    alike = explain(seeded(Net()), FunctionAdapter(lambda z: -z[:, :2].sum(1)), None, X[:1], method)
    assert torch.allclose(explanation.raw, alike.raw, atol=1e-6)
    both = explain(seeded(Listed()), FunctionAdapter(summed), None, X)
    z = seeded(Net())(X)
    assert torch.allclose(both.score.double(), -z[:, :2].sum(1), atol=1e-6)
    assert [len(row["scores"]) for row in both.outputs] == [2, 2]


def test_a_target_that_is_out_of_range_is_still_said_first():
    with pytest.raises(InputError, match="class 9 is out of range: the model has 5 classes"):
        explain(seeded(Ending(nn.Softmax(dim=1))), target=9)
