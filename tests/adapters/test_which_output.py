"""Models that say several things, or say them in other axes: what is explained is what was asked,
or is refused."""

import pytest
import torch
from torch import nn

import camport
from camport.adapters import CaptioningAdapter, SegmentationAdapter, SimilarityAdapter, VqaAdapter
from camport.errors import DoubtWarning, ModelError, UnknownNameError
from camport.testing.networks import seeded
from tests.nets import images

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2)
WORDS, T = 12, 5
TOKENS = torch.tensor([[1, 5, 7, 4, 2], [1, 3, 9, 2, 2]])


class Speaker(nn.Module):
    """Attends to the image anew for every word; `form` makes what it returns of logits,
    attention and last state."""

    def __init__(self, form=lambda z, attention, state: z, width=8):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU()
        )
        self.words, self.cell = nn.Embedding(WORDS, width), nn.LSTMCell(2 * width, width)
        self.attention, self.head = nn.Linear(2 * width, 1), nn.Linear(width, WORDS)
        self.form, self.start_token, self.end_token = form, 1, 2

    def say(self, x, tokens):
        places = self.features(x).flatten(2).mT
        h = c = places[:, 0] * 0
        said, looked = [], []
        for t in range(tokens.shape[1]):
            weights = self.attention(torch.cat([places, h[:, None].expand_as(places)], 2)).softmax(
                1
            )
            h, c = self.cell(
                torch.cat([self.words(tokens[:, t]), (weights * places).sum(1)], 1), (h, c)
            )
            said.append(self.head(h))
            looked.append(weights[..., 0])
        return torch.stack(said, 1), torch.stack(looked, 1), torch.stack([h] * T, 1)

    def forward(self, x, tokens):
        return self.form(*self.say(x, tokens))


def log_p(model, tokens=TOKENS, spans=((1, 4), (1, 3))):
    said = model.say(X, tokens)[0].log_softmax(2)
    return torch.stack(
        [sum(said[i, t - 1, tokens[i, t]] for t in range(*span)) for i, span in enumerate(spans)]
    )


def gradient(module, y_of):
    kept = []
    with module.register_forward_hook(lambda _module, _given, out: kept.append(out)):
        y = y_of()
    return y.detach(), torch.autograd.grad(y.sum(), kept[0])[0]


FORMS = {
    "logits alone": lambda z, attention, state: z,
    "attention behind": lambda z, attention, state: (z, attention),
    "attention first": lambda z, attention, state: (attention, z),
    "the state first": lambda z, attention, state: (state, z),
    "by names": lambda z, attention, state: {"alphas": attention, "predictions": z},
    "probabilities": lambda z, attention, state: z.softmax(2),
    "log-probabilities": lambda z, attention, state: (attention, z.log_softmax(2)),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_captioner_of_several_outputs(form):
    model = seeded(Speaker(form))
    explanation = camport.explain(model, X, "hirescam", {"tokens": TOKENS}, adapter="captioning")
    assert explanation.layers == ("features",)  # and no attention's numbers
    y, g = gradient(model.features, lambda: log_p(model))
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-10)


def test_the_caption_is_written_of_the_same_output():
    own = camport.explain(seeded(Speaker()), X, "hirescam", adapter=CaptioningAdapter(length=T))
    other = camport.explain(
        seeded(Speaker(FORMS["attention first"])),
        X,
        "hirescam",
        adapter=CaptioningAdapter(length=T),
    )
    assert torch.equal(own.target, other.target)
    assert torch.allclose(own.score, other.score, atol=1e-6)


def test_a_caption_of_one_word():
    tokens = torch.tensor([[1, 6], [1, 8]])
    model = seeded(Speaker())
    explanation = camport.explain(model, X, "hirescam", {"tokens": tokens}, adapter="captioning")
    assert torch.allclose(
        explanation.score.double(), log_p(model, tokens, ((1, 2), (1, 2))).detach(), atol=1e-6
    )


def test_two_outputs_that_may_be_words():
    def both(z, attention, state):
        return z, z.flip(2) * 2

    with pytest.warns(
        DoubtWarning,
        match=r"2 outputs that may be the logits of its words; '0' is explained, and '1' ",
    ):
        first = camport.explain(
            seeded(Speaker(both)), X, "hirescam", {"tokens": TOKENS}, adapter="captioning"
        )
    alone = camport.explain(
        seeded(Speaker()), X, "hirescam", {"tokens": TOKENS}, adapter="captioning"
    )
    assert torch.equal(first.raw, alone.raw)
    chosen = camport.explain(
        seeded(Speaker(both)),
        X,
        "hirescam",
        {"tokens": TOKENS},
        adapter=CaptioningAdapter(output=1),
    )
    alone = seeded(Speaker(lambda z, attention, state: z.flip(2) * 2))
    wanted = camport.explain(alone, X, "hirescam", {"tokens": TOKENS}, adapter="captioning")
    assert torch.equal(chosen.raw, wanted.raw)
    with pytest.raises(UnknownNameError, match="'captions'"):
        camport.explain(
            seeded(Speaker(both)),
            X,
            "hirescam",
            {"tokens": TOKENS},
            adapter=CaptioningAdapter(output="captions"),
        )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            lambda z, attention, state: z[:, :-1],
            r"rows for \d tokens.* called with a token more: model\(images, F.pad",
        ),
        (
            lambda z, attention, state: z.mT,
            r"gives \(1, 12, \d\) for \d tokens: the words are on its second axis",
        ),
        (
            lambda z, attention, state: z.transpose(0, 1),
            r"first axis is not that of the images.*transpose\(0, 1\)",
        ),
    ],
)
@pytest.mark.parametrize("t", [2, T])
def test_words_on_other_axes_are_refused(form, said, t):
    with pytest.raises(ModelError, match=said):
        camport.explain(
            seeded(Speaker(form)),
            X[:1],
            "hirescam",
            {"tokens": TOKENS[:1, :t]},
            adapter="captioning",
        )


def test_a_logit_of_probabilities_is_refused():
    model = seeded(Speaker(FORMS["probabilities"]))
    with pytest.raises(
        ModelError,
        match="score_as='logit' needs logits, and the model gives probabilities of its words",
    ):
        camport.explain(
            model, X, "hirescam", {"tokens": TOKENS}, adapter=CaptioningAdapter(score_as="logit")
        )


class Answerer(nn.Module):
    def __init__(self, form, swapped=False):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.words, self.head, self.form = nn.Embedding(20, 8), nn.Linear(8, 5), form

    def fused(self, x, question):
        return self.features(x).mean((2, 3)) * self.words(question).sum(1)

    def forward(self, x, question):
        fused = self.fused(x, question)
        return self.form(self.head(fused), fused)


class ByKeyword(Answerer):
    def forward(self, x, *, question):
        return self.head(self.fused(x, question))


class QuestionFirst(Answerer):
    def forward(self, question, image):
        return self.head(self.fused(image, question))


ANSWERS = VqaAdapter(answers=("no", "yes", "one", "two", "three"))
QUESTION = torch.tensor([[3, 4, 5], [7, 8, 2]])


@pytest.mark.parametrize(
    "model",
    [
        Answerer(lambda z, fused: (fused, z)),
        Answerer(lambda z, fused: {"features": fused, "answers": z}),
        Answerer(lambda z, fused: z.softmax(1)),
        Answerer(lambda z, fused: z.sigmoid()),
        Answerer(lambda z, fused: z.log_softmax(1)),
        ByKeyword(None),
        QuestionFirst(None),
    ],
    ids=[
        "features first",
        "by names",
        "softmax",
        "sigmoid",
        "log_softmax",
        "by keyword",
        "question first",
    ],
)
def test_an_answers_logit(model):
    model = seeded(model)
    explanation = camport.explain(
        model, X, "hirescam", {"question": QUESTION, "answer": "two"}, adapter=ANSWERS
    )
    y, g = gradient(model.features, lambda: model.head(model.fused(X, QUESTION))[:, 3])
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-10)
    contrast = VqaAdapter(answers=ANSWERS.answers, contrast=True)
    target = {"question": QUESTION, "answer": "two", "against": "yes"}
    z = model.head(model.fused(X, QUESTION)).detach()
    wanted = camport.explain(model, X, "hirescam", target, adapter=contrast).score.double()
    assert torch.allclose(wanted, z[:, 3] - z[:, 1], atol=1e-6)


def test_answers_whose_first_axis_is_not_the_images():
    model = seeded(Answerer(lambda z, fused: z.T))
    with pytest.raises(ModelError, match=r"5 rows of classes, \(5, 1\), for 1 image"):
        camport.explain(model, X[:1], "hirescam", {"question": QUESTION[:1]}, adapter=ANSWERS)


class Pair(nn.Module):
    """An image's embedding beside those of fixed texts."""

    def __init__(self, form, texts=3):
        super().__init__()
        self.features, self.head = (
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
            nn.Linear(8, 6),
        )
        self.texts, self.form = nn.Parameter(torch.randn(texts, 6)), form

    def embedded(self, x):
        return nn.functional.normalize(self.head(self.features(x).mean((2, 3))), dim=1)

    def forward(self, x):
        return self.form(self.embedded(x), self.texts)


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        (lambda e, t: (t, e), 3),
        (lambda e, t: {"text": t, "image": e}, 3),
        (lambda e, t: {"text_features": t, "image_features": e}, 2),
        (lambda e, t: {"caption": t, "projected": e}, 2),
    ],
)
def test_an_images_embedding_beside_a_texts(form, texts):
    model, reference = (
        seeded(Pair(form, texts)),
        torch.randn(6, generator=torch.Generator().manual_seed(0)).double(),
    )
    explanation = camport.explain(model, X, "hirescam", reference, adapter="similarity")
    y, g = gradient(
        model.features,
        lambda: nn.functional.cosine_similarity(model.embedded(X), reference[None], dim=1),
    )
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-8)


def test_two_embeddings_an_image():
    model = seeded(Pair(lambda e, t: (e, -e.flip(1))))
    reference = torch.ones(6, dtype=torch.float64)
    with pytest.warns(
        DoubtWarning,
        match=r"several outputs that may be the image's embedding; '0' is explained, and",
    ):
        first = camport.explain(model, X, "hirescam", reference, adapter="similarity")
    e = model.embedded(X).detach()
    assert torch.allclose(
        first.score, nn.functional.cosine_similarity(e, reference[None], dim=1), atol=1e-6
    )
    second = camport.explain(model, X, "hirescam", reference, adapter=SimilarityAdapter(output="1"))
    assert torch.allclose(second.score, -first.score, atol=1e-6)
    swapped = seeded(Pair(lambda e, t: e.T))
    with pytest.raises(
        ModelError,
        match=r"an embedding \(6, 1\) for 1 image: its first axis is not that of the images",
    ):
        camport.explain(swapped, X[:1], "hirescam", reference, adapter="similarity")


class Segmenter(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.features, self.head, self.form = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1), form

    def forward(self, x):
        return self.form(self.head(self.features(x).relu()))


@pytest.mark.parametrize(
    "form",
    [
        lambda z: {"aux": z.flip(1), "main": z},
        lambda z: {"edges": z.flip(1), "seg": z},
        lambda z: {"aux_logits": z.flip(1), "logits": z},
        lambda z: {"deep_1": z.flip(1), "whole": z},
        lambda z: {"masks": z.flip(1), "pred": z},
    ],
)
def test_a_segmentation_among_several_outputs(form):
    target = {"class": 2, "box": (2, 2, 9, 9)}
    bound = camport.bind(seeded(Segmenter(form)), "hirescam", "features", "segmentation")
    wanted = camport.explain(
        seeded(Segmenter(lambda z: z)), X, "hirescam", target, "features", "segmentation"
    )
    if "logits" in form(torch.zeros(1, 4, 1, 1)):
        found = bound(X, target)
    else:
        with pytest.warns(DoubtWarning, match="of the model's 2 outputs"):
            found = bound(X, target)
    assert torch.equal(found.raw, wanted.raw)


def test_a_logistic_function_in_forward_is_seen():
    model = seeded(Segmenter(lambda z: torch.sigmoid(z * 0.01)))  # values near 1/2 alone
    with pytest.warns(
        DoubtWarning, match="lie in .0,1. and are explained as they are.* without the sigmoid"
    ):
        camport.explain(
            model,
            X,
            "hirescam",
            {"class": 1, "box": (2, 2, 9, 9)},
            "features",
            SegmentationAdapter(),
        )
