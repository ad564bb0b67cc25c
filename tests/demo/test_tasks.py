"""The shipped networks for captions, questions and segmentation,
and where their maps lie in held-out scenes."""

import pytest
import torch

import camport
from benchmarks.quality.tasks import FIRST_SEED, measure
from benchmarks.quality.tasks_scores import normalised
from camport.adapters.text.words import explain_words
from camport.demo.language import (
    ANSWERS,
    CAPTION_LENGTH,
    CAPTION_WORDS,
    QUESTION_WORDS,
    caption_text,
    caption_tokens,
    question_tokens,
)
from camport.demo.networks import WEIGHTS
from camport.demo.scenes import make_scene
from camport.demo.task_networks import TASK_NETWORKS, load
from camport.errors import InputError, UnknownNameError

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


def test_captions_become_tokens_and_back():
    for seed in range(60):
        caption = make_scene(seed, digits=1 + seed % 3).caption
        tokens = caption_tokens(caption)
        assert len(tokens) == CAPTION_LENGTH
        assert caption_text(tokens) == caption
    with pytest.raises(InputError, match="the caption has the word 'cat'"):
        caption_tokens("a cat left of a seven")
    with pytest.raises(InputError, match=r"has \d+ words; at most 12 are read"):
        caption_tokens(make_scene(4, digits=5).caption)


def test_every_question_but_the_tallest_is_known():
    for seed in range(60):
        for question, answer in make_scene(seed).questions:
            if "tallest" not in question:
                assert all(
                    0 < token < len(QUESTION_WORDS) for token in question_tokens(question) if token
                )
                assert answer in ANSWERS
    with pytest.raises(InputError, match="the question is empty"):
        question_tokens(" ?")
    with pytest.raises(InputError, match="has the word 'sevnes'"):
        question_tokens("how many sevnes?")


def test_the_words_have_one_number_each():
    for words in (CAPTION_WORDS, QUESTION_WORDS, ANSWERS):
        assert len(set(words)) == len(words)


def test_the_files_are_small():
    sizes = {name: (WEIGHTS / f"{name}.safetensors").stat().st_size for name in TASK_NETWORKS}
    assert sum(sizes.values()) < 2_000_000


def test_an_unknown_network():
    with pytest.raises(
        UnknownNameError, match="unknown demo network 'captoiner'; did you mean 'captioner'"
    ):
        load("captoiner")


def test_a_words_map_lies_on_its_own_digit():
    found = measure("captioner", scenes=50)[1]["a word"]
    assert found.maps == 100
    assert found.over / found.maps >= 0.9
    assert found.energy >= 2 * found.chance


def test_a_words_map_lies_on_its_own_digit_without_attention():
    found = measure("plain-captioner", scenes=50)[1]["a word"]
    assert found.over / found.maps > 0.5
    assert found.energy > found.chance


def test_an_answers_map_lies_on_the_digits_asked_about():
    found = measure("answerer", scenes=40)[1]
    for kind, least in (("how many", 0.65), ("is there", 0.95)):
        assert found[kind].maps >= 20
        assert found[kind].hits / found[kind].maps >= 0.9
        assert found[kind].over / found[kind].maps >= least
        assert found[kind].energy >= 3 * found[kind].chance


def test_a_regions_map_lies_in_it():
    found = measure("segmenter", scenes=30)[1]["a region"]
    assert found.over / found.maps >= 0.9


@pytest.mark.parametrize("name", ["captioner", "plain-captioner"])
def test_the_captioner_writes_captions_and_each_word_has_a_map(name):
    right, bound = [], camport.bind(load(name), None, "encoder.layer3", "captioning")
    for seed in range(FIRST_SEED, FIRST_SEED + 20):
        scene = make_scene(seed, split="held-out", digits=2)
        found = explain_words(bound, normalised(scene))
        right.append(found.caption == scene.caption)
        assert found.explanation.heatmap.shape[0] == len(found.words)
    assert sum(right) >= 12


def test_the_answerer_answers():
    model = load("answerer")
    asked = [
        (s, q, a)
        for s in map(make_scene_held_out, range(40))
        for q, a in s.questions
        if "tallest" not in q
    ]
    tokens = torch.tensor([question_tokens(q) for _, q, _ in asked])
    with torch.no_grad():
        said = model(torch.cat([normalised(scene) for scene, _, _ in asked]), tokens).argmax(1)
    assert (
        sum(ANSWERS[i] == a for i, (_, _, a) in zip(said.tolist(), asked, strict=True)) / len(asked)
        >= 0.8
    )


def make_scene_held_out(seed):
    return make_scene(FIRST_SEED + seed, split="held-out")
