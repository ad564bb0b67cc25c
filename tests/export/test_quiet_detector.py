"""A detector that is sure of nothing in the example images exports all the same:
the best candidates are taken."""

import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.errors import InputError
from tests.adapters.detectors import ClassicHead, Detector, FreeHead, awake, photographs, quiet


@pytest.mark.parametrize("head", [ClassicHead, FreeHead])
def test_the_best_candidates_are_traced(head) -> None:
    bound = camport.bind(quiet(awake(Detector(head()))).float(), "layercam", adapter="detection")
    images = photographs(2).float()
    with pytest.raises(
        InputError, match=r"no detection reaches a confidence of 0\.25, the best has 0\.0"
    ):
        bound(images)
    program = bound.program(images)
    inputs = program.sample(images, 5, 0)
    made = program(program.state, inputs)
    sure = camport.bind(bound.model, "layercam", adapter=DetectionAdapter(threshold=0.0, most=1))
    best = sure(inputs["images"][:1])
    inputs = {
        "images": inputs["images"][:1],
        "boxes": torch.zeros(1, 4),
        "class_ids": torch.tensor([-1]),
    }
    torch.testing.assert_close(program(program.state, inputs)["heatmap"], best.heatmap)
    assert made["heatmap"].amax((1, 2)).tolist() == [1.0] * 5
