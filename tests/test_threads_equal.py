"""Many threads on one bound method: what each gets is what it gets alone, to the last bit."""

import threading

import pytest
import torch

import camport
from camport.errors import silenced
from tests.nets import GapNet, seeded

THREADS = 32


@pytest.mark.parametrize("method", ["gradcam", "saliency", "scorecam", "guided_backprop"])
def test_at_the_first_call(method):
    images = torch.randn(
        2, 3, 14, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    model = seeded(GapNet())

    def bound():
        return camport.bind(
            model, method, None if method in ("saliency", "guided_backprop") else "features"
        )

    alone, shared, start = bound(), bound(), threading.Barrier(THREADS)
    with silenced():
        expected = [alone(images, k) for k in range(4)]
    found: dict[int, list] = {}

    def run(k: int) -> None:
        start.wait(60)  # all of them meet a method that has settled nothing yet
        with silenced():
            found[k] = [shared(images, (k + i) % 4) for i in range(2)]

    threads = [threading.Thread(target=run, args=(k,)) for k in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == THREADS
    for k, explanations in found.items():
        for i, explanation in enumerate(explanations):
            right = expected[(k + i) % 4]
            assert torch.equal(explanation.raw, right.raw)
            assert torch.equal(explanation.heatmap, right.heatmap)
            assert torch.equal(explanation.score, right.score)
