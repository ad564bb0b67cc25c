"""Outputs in the order of their values, made of probabilities, or made of one another;
layers that run twice."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters.text.words import words_of
from camport.errors import DoubtWarning, InputError, ModelError
from camport.testing.networks import seeded

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
K = 5


def backbone():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())


class Classifier(nn.Module):
    """Classes of what an attention over the places keeps;
    `form` makes what it returns of logits and attention."""

    def __init__(self, form):
        super().__init__()
        self.features, self.attention, self.head = backbone(), nn.Conv2d(8, 1, 1), nn.Linear(8, K)
        self.form = form

    def say(self, x):
        places = self.features(x)
        attention = self.attention(places).flatten(2).softmax(2)
        return self.head((places.flatten(2) * attention).sum(2)), attention[:, 0]

    def forward(self, x):
        return self.form(*self.say(x))


def gradient(module, y_of):
    kept = []
    with module.register_forward_hook(lambda _module, _given, out: kept.append(out)):
        y = y_of()
    return y.detach(), torch.autograd.grad(y.sum(), kept[0])[0]


def equals(explanation, module, y_of):
    y, g = gradient(module, y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-9)


PLACED = {
    "less the second best": lambda z, attention: z - z.topk(2).values[:, 1:],
    "less the best": lambda z, attention: z - z.sort(1, descending=True)[0][:, :1],
    "sorted and put back": lambda z, attention: z.sort(1)[0].gather(1, z.argsort(1).argsort(1)),
    "sorted and taken back": lambda z, attention: torch.take_along_dim(
        z.sort(1)[0], z.sort(1)[1].argsort(1), 1
    ),
    "by their ranks": lambda z, attention: z * (1 + z.argsort(1).argsort(1)),
}


@pytest.mark.parametrize("form", PLACED.values(), ids=PLACED)
def test_scores_that_an_order_is_used_for_are_in_the_order_of_the_classes(form):
    model = seeded(Classifier(form))
    explanation = camport.explain(model, X, "hirescam", 2)
    equals(explanation, model.features, lambda: model(X)[:, 2])


RANKED = {
    "gathered": lambda z, attention: z.gather(1, z.argsort(1)),
    "taken": lambda z, attention: torch.take_along_dim(z, z.argsort(1, descending=True), 1),
    "indexed": lambda z, attention: z[torch.arange(len(z))[:, None], z.topk(K).indices],
    "probabilities": lambda z, attention: z.softmax(1).gather(1, z.topk(K).indices),
}


@pytest.mark.parametrize("form", RANKED.values(), ids=RANKED)
def test_scores_that_are_taken_by_their_order_are_refused(form):
    with pytest.raises(ModelError, match="in the order of their values"):
        camport.explain(seeded(Classifier(form)), X, "hirescam", 2)


def test_a_softmax_of_a_softmax_is_told():
    model = seeded(Classifier(lambda z, attention: z.softmax(1).softmax(1)))
    with pytest.warns(DoubtWarning, match="takes a softmax of what is made of a softmax"):
        explanation = camport.explain(model, X, "hirescam", 2)
    equals(explanation, model.features, lambda: model.say(X)[0].softmax(1)[:, 2])


def test_a_softmax_of_a_log_softmax_has_the_logits_before_both():
    model = seeded(Classifier(lambda z, attention: z.log_softmax(1).softmax(1)))
    explanation = camport.explain(model, X, "hirescam", 2)
    equals(explanation, model.features, lambda: model.say(X)[0][:, 2])


@pytest.mark.parametrize(
    "form",
    [lambda z, attention: (z, attention), lambda z, attention: (attention, z)],
    ids=["behind", "first"],
)
def test_an_attention_that_the_classes_are_made_of_is_no_class(form):
    model = seeded(Classifier(form))
    with pytest.warns(DoubtWarning, match=r"\[1, 5\] is explained, and '\d' \[1, 64\] is not"):
        explanation = camport.explain(model, X, "hirescam", 2)
    equals(explanation, model.features, lambda: model.say(X)[0][:, 2])


def test_a_class_that_another_output_has_is_refused_with_its_name():
    model = seeded(Classifier(lambda z, attention: {"coarse": z[:, :2] * 2, "fine": z}))
    with pytest.raises(
        InputError,
        match=r"class 4 .* \(0\.\.1\), by its output 'coarse'; choose 'fine' with output=",
    ):
        camport.explain(model, X, "hirescam", 4)


class Segmenter(nn.Module):
    """Runs its backbone again behind the head; `form` makes what it returns of the logits."""

    def __init__(self, form):
        super().__init__()
        self.backbone, self.classifier, self.form = backbone(), nn.Conv2d(8, 4, 1), form

    def forward(self, x):
        z = self.classifier(self.backbone(x))
        self.backbone(x.flip(2))
        return self.form(z)


BOX = {"class": 2, "box": (8, 4, 24, 20)}


def test_the_run_before_the_head_is_the_one_that_is_explained():
    model = seeded(Segmenter(lambda z: nn.functional.interpolate(z, X.shape[2:], mode="bilinear")))
    explanation = camport.explain(model, X, "hirescam", BOX, adapter="segmentation")
    assert explanation.layers == ("backbone@0",)
    equals(explanation, model.backbone, lambda: model(X)[:, 2, 4:20, 8:24].mean((1, 2)))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (lambda z: z.sort(1)[0], "in the order of their values"),
        (lambda z: z.transpose(0, 1), "its first axis is not that of the images"),
    ],
    ids=["sorted", "classes first"],
)
def test_a_segmentation_whose_axes_are_others_is_refused(form, words):
    with pytest.raises(ModelError, match=words):
        camport.explain(
            seeded(Segmenter(form)), X, "hirescam", BOX, adapter="segmentation", layer="backbone@0"
        )


@pytest.mark.parametrize(
    ("form", "link"),
    [
        (lambda z: z.softmax(1) * 100, "softmax"),
        (lambda z: -z.log_softmax(1), "log_softmax"),
        (lambda z: z.sigmoid() * 0.5, "sigmoid"),
    ],
)
def test_a_segmentation_made_of_probabilities_is_told(form, link):
    model = seeded(Segmenter(form))
    with pytest.warns(DoubtWarning, match=f"made of a {link} and are no logits"):
        camport.explain(model, X, "hirescam", BOX, adapter="segmentation", layer="backbone@0")


class Captioner(nn.Module):
    """One word a place, of the image's mean and the word before."""

    def __init__(self, form=lambda z: z):
        super().__init__()
        self.features, self.words, self.head, self.form = (
            backbone(),
            nn.Embedding(12, 8),
            nn.Linear(8, 12),
            form,
        )
        self.start_token, self.end_token = 1, 2

    def forward(self, x, tokens):
        return self.form(self.head(self.words(tokens) * self.features(x).mean((2, 3))[:, None]))


TOKENS = torch.tensor([[1, 5, 7, 2], [1, 3, 9, 2]])


def test_a_captioner_of_negative_log_probabilities_is_read_as_such():
    model = seeded(Captioner(lambda z: -z.log_softmax(2)))
    explanation = camport.explain(
        model, X, "hirescam", {"tokens": TOKENS, "span": (1, 3)}, adapter="captioning"
    )
    equals(
        explanation,
        model.features,
        lambda: -model(X, TOKENS)[:, :2].gather(2, TOKENS[:, 1:3, None]).sum((1, 2)),
    )


def test_a_captioner_of_ranked_words_is_refused():
    with pytest.raises(ModelError, match="in the order of their values"):
        camport.explain(
            seeded(Captioner(lambda z: z.topk(12, dim=2))),
            X,
            "hirescam",
            {"tokens": TOKENS},
            adapter="captioning",
        )


def test_letters_of_two_bytes_and_line_breaks_of_gpt2():
    pieces = ["<s>", "Ġa", "Ġcaf", "Ã", "©", "ĊĊ", "dog", "</s>"]
    assert [(word.text, word.start, word.end) for word in words_of(pieces)] == [
        ("a", 1, 2),
        ("café", 2, 5),
        ("dog", 6, 7),
    ]
