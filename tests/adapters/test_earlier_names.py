"""Modules that 0.1 had are importable by the names they had."""

from importlib import import_module

import pytest

from camport import adapters

NAMES = {
    "camport.adapters.captioning": "CaptioningAdapter",
    "camport.adapters.classification": "ClassificationAdapter",
    "camport.adapters.detection": "DetectionAdapter",
    "camport.adapters.function": "FunctionAdapter",
    "camport.adapters.segmentation": "SegmentationAdapter",
    "camport.adapters.similarity": "SimilarityAdapter",
    "camport.adapters.vqa": "VqaAdapter",
    "camport.adapters.vqa_words": "WrittenAnswerAdapter",
}


@pytest.mark.parametrize("module", NAMES)
def test_adapters(module):
    assert getattr(import_module(module), NAMES[module]) is getattr(adapters, NAMES[module])


def test_a_function_of_one():
    from camport.adapters.words import words_of as as_it_was

    from camport.adapters.text.words import words_of

    assert as_it_was is words_of
