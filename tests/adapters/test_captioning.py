import pytest
import torch

import camport
from camport.adapters import CaptioningAdapter
from camport.adapters.text.words import Word, explain_words, word_in, words_of
from camport.errors import InputError
from camport.testing.networks import CaptionNet, seeded
from tests.nets import images

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = images(2)
TEXTS = ("<start>", "<end>", "a", "five", "six", "left", "of", ",", "nine")
TOKENS = torch.tensor([[0, 2, 3, 5, 6, 2, 4, 1, 1], [0, 2, 8, 1, 1, 1, 1, 1, 1]])
ADAPTER = CaptioningAdapter(TEXTS, length=9)


def explain(target=None, adapter=ADAPTER, method="hirescam"):
    return camport.explain(seeded(CaptionNet()), X, method, target, "features", adapter)


def by_hand(rows, tokens=TOKENS):
    """Score and gradient; a row has (place, token, factor) of each log-probability in the sum."""
    model = seeded(CaptionNet())
    a = model.features(X).detach().requires_grad_()
    model.features = torch.nn.Identity()
    log_p = model(a, tokens).log_softmax(2)
    y = torch.stack(
        [
            sum(f * log_p[i, place - 1, token] for place, token, f in row)
            for i, row in enumerate(rows)
        ]
    )
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


def terms(spans):
    return [[(t, int(TOKENS[i, t]), 1) for t in range(*span)] for i, span in enumerate(spans)]


@pytest.mark.parametrize(
    ("target", "spans"),
    [
        ({"tokens": TOKENS, "span": (2, 3)}, [(2, 3), (2, 3)]),
        ({"tokens": TOKENS, "span": [[2, 3], [1, 2]]}, [(2, 3), (1, 2)]),
        ({"tokens": TOKENS, "span": (1, 4)}, [(1, 4), (1, 4)]),
        ({"tokens": TOKENS}, [(1, 7), (1, 3)]),  # the whole caption ends before its end token
        ({"tokens": TOKENS, "word": "a"}, [(1, 2), (1, 2)]),
    ],
)
def test_score_and_gradient(target, spans):
    explanation = explain(target)
    y, g = by_hand(terms(spans))
    assert torch.allclose(explanation.score.double(), y, atol=1e-5)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)
    inside = torch.full_like(TOKENS, -1)
    for i, (first, last) in enumerate(spans):
        inside[i, first:last] = TOKENS[i, first:last]
    assert torch.equal(explanation.target, inside)


def test_the_score_may_be_the_logit():
    explanation = explain({"tokens": TOKENS, "span": (2, 4)}, CaptioningAdapter(score_as="logit"))
    z = seeded(CaptionNet())(X, TOKENS)
    wanted = [z[i, 1, TOKENS[i, 2]] + z[i, 2, TOKENS[i, 3]] for i in range(2)]
    assert torch.allclose(explanation.score.double(), torch.stack(wanted).detach(), atol=1e-5)
    with pytest.raises(
        InputError, match="score_as is 'probability'; it is one of log_probability, logit"
    ):
        CaptioningAdapter(score_as="probability")


def test_a_contrast_of_two_words():
    adapter = CaptioningAdapter(TEXTS, contrast=True)
    explanation = explain({"tokens": TOKENS, "span": (2, 3), "against": "six"}, adapter)
    y, g = by_hand([[(2, 3, 1), (2, 4, -1)], [(2, 8, 1), (2, 4, -1)]])
    assert torch.allclose(explanation.score.double(), y, atol=1e-5)
    assert torch.allclose(explanation.gradients[0], g, atol=1e-12)
    by_number = explain({"tokens": TOKENS, "span": (2, 3), "against": [4, 4]}, adapter)
    assert torch.equal(by_number.raw, explanation.raw)


def test_the_caption_is_the_likeliest_token_each_time():
    model, said = seeded(CaptionNet()), torch.zeros(2, 1, dtype=torch.int64)
    while said.shape[1] < 6:
        last = model(X, said)[:, -1].argmax(1)
        last = torch.where((said[:, 1:] == 1).any(1), 1, last)
        said = torch.cat([said, last[:, None]], 1)
    own = explain(None, CaptioningAdapter(length=6))
    given = explain({"tokens": said})
    assert torch.equal(own.raw, given.raw)
    model.caption_length = 6
    named = camport.bind(model, "hirescam", "features", "captioning")
    assert torch.equal(named(X).raw, given.raw)
    assert named.adapter.length == 6
    assert explain(None, CaptioningAdapter()).target.shape == (2, 20)
    assert torch.equal(explain((1, 2), CaptioningAdapter(length=6)).target[:, 1], said[:, 1])


def test_methods_that_run_the_model_again_ask_about_the_same_caption():
    target = {"tokens": TOKENS, "span": (2, 3)}
    for method in ("reciprocam", "scorecam", "smoothgrad"):
        both = explain(target, method=method)
        assert bool(both.raw.isfinite().all())
    first = camport.explain(
        seeded(CaptionNet()),
        X[:1],
        "reciprocam",
        {"tokens": TOKENS[0], "span": (2, 3)},
        "features",
        ADAPTER,
    )
    assert torch.allclose(explain(target, method="reciprocam").raw[:1], first.raw, atol=1e-9)


def test_one_map_a_word():
    found = explain_words(
        camport.bind(seeded(CaptionNet()), "hirescam", "features", ADAPTER),
        X[:1],
        {"tokens": TOKENS[0]},
    )
    assert found.caption == "a five left of a six"
    assert [(w.start, w.end) for w in found.words] == [(i, i + 1) for i in range(1, 7)]
    alone = explain({"tokens": TOKENS, "span": (2, 3)})
    assert torch.allclose(found.explanation.raw[1], alone.raw[0], atol=1e-12)
    with pytest.raises(InputError, match="the words of one image are explained"):
        explain_words(camport.bind(seeded(CaptionNet()), "hirescam", "features", ADAPTER), X)
    for wrong, pieces, said in (
        (TOKENS[0] + 5, None, "token 11 is out of range: the vocabulary has 9 tokens"),
        (TOKENS[0], ["<start>", "a"], "pieces has 2 texts for 9 tokens"),
        (torch.ones(4, dtype=torch.int64), None, "the caption has no word to explain"),
    ):
        with pytest.raises(InputError, match=said):
            explain_words(
                camport.bind(seeded(CaptionNet()), "hirescam", "features", ADAPTER),
                X[:1],
                {"tokens": wrong},
                pieces=pieces,
            )
    with pytest.raises(InputError, match="the adapter has no vocabulary"):
        explain_words(
            camport.bind(seeded(CaptionNet()), "hirescam", "features", "captioning"), X[:1]
        )


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (
            ["[CLS]", "two", "play", "##ing", "cats", "[SEP]", "[PAD]"],
            [("two", 1, 2), ("playing", 2, 4), ("cats", 4, 5)],
        ),
        (
            ["<|endoftext|>", "A", "Ġsk", "ate", "board", "Ġ,", "Ġup"],
            [("A", 1, 2), ("skateboard", 2, 5), (",", 5, 6), ("up", 6, 7)],
        ),
        (["<s>", "▁a", "▁cat", "s", "</s>", "▁x"], [("a", 1, 2), ("cats", 2, 4)]),
        (["<start>", "a", "five"], [("a", 1, 2), ("five", 2, 3)]),
    ],
)
def test_words_are_their_tokens_together(pieces, words):
    assert words_of(pieces) == [Word(*word) for word in words]


def test_a_word_is_found_by_what_it_reads():
    words = words_of(["a", "cat", "on", "a", "mat"])
    assert word_in(words, "A", 2) == Word("a", 3, 4)
    with pytest.raises(
        InputError, match="the caption 'a cat on a mat' has no word 'dog'; nearest: a, cat, on, mat"
    ):
        word_in(words, "dog")
    with pytest.raises(InputError, match="has 2 times the word 'a', not 3"):
        word_in(words, "a", 3)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"tokens": TOKENS + 5}, "token 11 is out of range: the model knows 9 tokens"),
        ({"tokens": -TOKENS}, "with values from -8; wanted a start and a word"),
        ({"tokens": TOKENS[:, :1]}, r"tokens \(2, 1\) with values"),
        ({"tokens": TOKENS, "span": (0, 2)}, r"span \(0, 2\) is no part of the caption's 9 tokens"),
        ({"tokens": TOKENS, "span": (3, 3)}, r"span \(3, 3\) is no part"),
        ({"tokens": TOKENS, "span": (3, 12)}, r"span \(3, 12\) is no part"),
        ({"tokens": TOKENS, "word": "seven"}, "the caption .* has no word 'seven'"),
        ({"tokens": TOKENS, "word": "a", "span": (1, 2)}, "target has word and span"),
        ({"tokens": TOKENS, "against": 3}, "for a contrast use CaptioningAdapter"),
        ({"token": TOKENS}, "target has 'token'; it can have tokens"),
        (3.5, "target 3.5 is not read"),
    ],
)
def test_what_does_not_fit_is_said(target, said):
    with pytest.raises(InputError, match=said):
        explain(target)


def test_options_that_do_not_fit_are_said():
    with pytest.raises(InputError, match="a contrast needs the word"):
        explain({"tokens": TOKENS}, CaptioningAdapter(contrast=True))
    with pytest.raises(InputError, match="the word 'a' cannot be looked up"):
        explain({"tokens": TOKENS, "word": "a"}, CaptioningAdapter())
    with pytest.raises(InputError, match="length is 1; it counts the prompt"):
        CaptioningAdapter(length=1)
    nameless = seeded(CaptionNet())
    nameless.start_token = None
    with pytest.raises(
        InputError, match="CaptionNet does not name the token that its captions begin with"
    ):
        camport.explain(nameless, X, "gradcam", None, "features", ADAPTER)
