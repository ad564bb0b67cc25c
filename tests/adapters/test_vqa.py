import pytest
import torch

import camport
from camport.adapters import CaptioningAdapter, VqaAdapter, WrittenAnswerAdapter
from camport.errors import InputError
from camport.testing.networks import AnswerNet, QuestionNet, seeded
from tests.nets import images

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2)
WORDS = ("<pad>", "how", "many", "is", "there", "a", "sevens", "cat", "dog")
ANSWERS = ("no", "yes", "one", "two", "three")
ADAPTER = VqaAdapter(WORDS, ANSWERS)
ASKED = torch.tensor([[1, 2, 6], [1, 2, 6]])


def explain(target, adapter=ADAPTER):
    return camport.explain(seeded(QuestionNet()), X, "hirescam", target, "features", adapter)


def by_hand(y_of, question=ASKED):
    model = seeded(QuestionNet())
    a = model.features(X).detach().requires_grad_()
    model.features = torch.nn.Identity()
    y = y_of(model(a, question))
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


@pytest.mark.parametrize(
    ("target", "y_of"),
    [
        (("How many sevens?", "two"), lambda z: z[:, 3]),
        ({"question": ASKED, "answer": 3}, lambda z: z[:, 3]),
        ({"question": ASKED[0], "answer": [3, -1]}, lambda z: torch.stack([z[0, 3], z[1].max()])),
        ("how many sevens", lambda z: z.amax(1)),
    ],
)
def test_score_and_gradient(target, y_of):
    explanation = explain(target)
    y, g = by_hand(y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


@pytest.mark.parametrize(
    ("against", "y_of"),
    [
        ({"against": "one"}, lambda z: z[:, 3] - z[:, 2]),
        ({}, lambda z: z[:, 3] - z[:, [0, 1, 2, 4]].amax(1)),
    ],
)
def test_a_contrast_of_two_answers(against, y_of):
    explanation = explain(
        {"question": ASKED, "answer": "two", **against}, VqaAdapter(WORDS, ANSWERS, contrast=True)
    )
    y, g = by_hand(y_of)
    assert torch.allclose(explanation.score.double(), y, atol=1e-6)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)


def test_questions_are_padded():
    padded = explain("is there a cat?", VqaAdapter(WORDS, ANSWERS, length=6))
    y, _ = by_hand(lambda z: z.amax(1), torch.tensor([[3, 4, 5, 7, 0, 0]]).expand(2, -1))
    assert torch.allclose(padded.score.double(), y, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (None, "the question is empty; ask one"),
        ("", "the question is empty; ask one"),
        (" ? ", "the question is empty; ask one"),
        ({"answer": 1}, "the question is empty"),
        ({"question": torch.zeros(2, 4, dtype=torch.int64)}, "the question is empty"),
        (
            "how many sevnes?",
            "the question has the word 'sevnes', which is not known; nearest: sevens",
        ),
        (("how many sevens?", "tow"), "there is no answer 'tow'; nearest: two"),
        (("how many sevens?", 5), r"answer 5 is out of range: the model has 5 answers \(0..4\)"),
        (("how many sevens?", -2), "answer -2 is out of range"),
        ({"question": [1, 99]}, "the question has the token 99, which the model does not know"),
        ({"question": [1, 2], "against": 1}, "for a contrast use VqaAdapter"),
        ({"question": [1, 2], "target": 1}, "target has 'target'; it can have question, answer"),
    ],
)
def test_what_does_not_fit_is_said(target, said):
    with pytest.raises(InputError, match=said):
        explain(target)


def test_texts_need_a_vocabulary():
    with pytest.raises(InputError, match="the question 'why' cannot be looked up: give its tokens"):
        explain("why", VqaAdapter())
    with pytest.raises(InputError, match="has 3 tokens; at most 2 are read"):
        explain("how many sevens?", VqaAdapter(WORDS, length=2))
    with pytest.raises(InputError, match="length is 0"):
        VqaAdapter(length=0)


def test_an_answer_that_is_written():
    adapter = WrittenAnswerAdapter(WORDS, CaptioningAdapter(length=4))
    model, tokens = seeded(AnswerNet()), torch.tensor([[0, 4, 5, 1], [0, 4, 5, 1]])
    given = camport.explain(
        model,
        X,
        "hirescam",
        {"question": "how many sevens?", "tokens": tokens, "span": (1, 3)},
        "features",
        adapter,
    )
    log_p = model(X, ASKED, tokens).log_softmax(2)
    assert torch.allclose(
        given.score.double(), (log_p[:, 0, 4] + log_p[:, 1, 5]).detach(), atol=1e-5
    )
    own = camport.explain(model, X, "hirescam", "how many sevens?", "features", adapter)
    assert own.target.shape == (2, 4)
    assert not torch.equal(own.raw, given.raw)
    with pytest.raises(InputError, match="the question is empty"):
        camport.explain(model, X, "hirescam", {"tokens": tokens}, "features", adapter)
    for wrong in (
        {"question": [1, 99], "tokens": tokens},
        {"question": [1, 99]},
        {"question": [1], "tokens": tokens + 9},
    ):
        with pytest.raises(
            InputError,
            match=r"the question has tokens up to \d+ and the answer up to \d+, and the model",
        ):
            camport.explain(model, X, "hirescam", wrong, "features", adapter)
