"""Captioners, answerers and segmentations of transformers: the score and its gradient by hand,
and maps of words."""

import pytest
import torch

import camport
from camport.adapters.text.words import explain_words
from camport.errors import InputError

transformers = pytest.importorskip("transformers", reason='pip install "camport[oracles]"')
from tests.adapters.speakers import SIDE, SPEAKERS, TOKENS, Speaker  # noqa: E402 - needs transformers

# random networks may say no
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")

X = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def made(speaker: Speaker):
    torch.manual_seed(1)
    return speaker.make().eval()


def by_hand(speaker: Speaker, model, layer: str):
    """Score, activations and gradient at a module, from one ordinary forward pass;
    maps are the last 16 tokens."""
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, args, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    y = speaker.score(model, X)
    handle.remove()
    (gradient,) = torch.autograd.grad(y.sum(), seen[0])
    found = [
        t.detach() if t.dim() == 4 else t.detach()[:, -16:].mT.unflatten(2, (4, 4))
        for t in (seen[0], gradient)
    ]
    return y.detach(), *found


@pytest.mark.parametrize("name", SPEAKERS)
def test_score_and_gradient(name, monkeypatch):
    # ViLT shuffles the patches of every image with it; the adapter leaves them where they lie
    monkeypatch.setattr(torch, "multinomial", lambda weights, count: torch.arange(count))
    speaker = SPEAKERS[name]
    model = made(speaker)
    explanation = camport.explain(model, X, "hirescam", speaker.target, adapter=speaker.adapter)
    y, activations, gradient = by_hand(speaker, model, explanation.layers[0])
    assert float(gradient.abs().amax()) > 1e-4
    assert torch.allclose(explanation.score, y, rtol=1e-4, atol=1e-5)
    assert torch.allclose(explanation.activations[0], activations, atol=1e-5)
    assert torch.allclose(
        explanation.gradients[0], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().amax())
    )


PIECES = ["<s>", "a", "skate", "##board", "</s>"]


@pytest.mark.parametrize(
    "name", [name for name in SPEAKERS if SPEAKERS[name].adapter.name == "captioning"]
)
def test_one_map_a_word(name):
    speaker = SPEAKERS[name]
    bound = camport.bind(made(speaker), "hirescam", adapter=speaker.adapter)
    tokens = torch.tensor(speaker.target["tokens"])
    prompt = ["<s>"] + ["<image>"] * (len(tokens) - len(TOKENS))
    found = explain_words(bound, X[0], {"tokens": tokens}, pieces=[*prompt, *PIECES[1:]])
    assert [word.text for word in found.words] == ["a", "skateboard"]
    last = found.words[1]
    assert last.end - last.start == 2
    both = bound(X[:1], {"tokens": tokens, "span": (last.start, last.end)})
    assert torch.allclose(
        found.explanation.raw[1], both.raw[0], rtol=1e-3, atol=1e-5 * float(both.raw.abs().max())
    )
    assert not torch.allclose(found.explanation.raw[0], found.explanation.raw[1])


@pytest.mark.parametrize("name", ["vit-gpt2", "blip", "git"])
def test_the_caption_is_what_generate_writes(name):
    speaker = SPEAKERS[name]
    model = made(speaker)
    explanation = camport.explain(model, X, "hirescam", None, adapter=speaker.adapter)
    written = model.generate(pixel_values=X, max_length=len(TOKENS), do_sample=False, num_beams=1)
    said = explanation.target[:, 1 : written.shape[1]]
    explained = said >= 0
    assert bool(explained.any())
    assert torch.equal(said[explained], written[:, 1:][explained])


def test_an_image_needs_all_of_its_placeholders():
    speaker = SPEAKERS["llava"]
    bound = camport.bind(made(speaker), "hirescam", adapter=speaker.adapter)
    with pytest.raises(
        InputError,
        match=r"the caption of image 0 has 15 image tokens \(39\), and the image makes 16",
    ):
        bound(X, {"tokens": [1, *[39] * 15, 5, 7, 9, 30, 2], "span": (17, 18)})
