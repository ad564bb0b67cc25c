"""Every method's graph at heights and widths that it was not traced with:
no size becomes a number on the way.

The graph is replayed, since what a size became is seen in it; writing a file would add nothing but
time.
"""

import pytest
import torch

import camport
from camport.errors import ExportError
from camport.export.graph import state_of
from camport.export.lower import lower, replay
from camport.export.pipeline import dynamic_axes
from tests.nets import images
from tests.plugins.quick import quiet, setting

METHODS = [name for name, info in camport.methods().items() if info.exportable]
SIZES = ((18, 14), (23, 30))


def lowered(bound, x):
    program = bound.program(x[:2])
    return lower(
        program, program.state, program.sample(x[:2], 2, 0), dynamic_axes(program, "batch+size")
    )


TOKENS = ("attention_rollout", "legrad")
"""Position embeddings fit one number of tokens."""
PLACES = ("occlusion", "reciprocam")
"""A variant of the image a place."""


@pytest.mark.everything
@pytest.mark.parametrize("name", PLACES)
def test_a_number_of_variants_that_depends_on_the_size_is_refused(name: str) -> None:
    s = setting(name)
    with (
        quiet(),
        pytest.raises(ExportError, match="the number of variants in a loop depends on the input"),
    ):
        lowered(camport.bind(s.model, s.method, s.layer), s.x)


FEW = ("groupcam", "smoothgradcam++")
"""A number of places, and one of values, that must stay symbols."""
OTHERS = [
    pytest.param(name, marks=() if name in FEW else pytest.mark.everything)
    for name in METHODS
    if name not in (*TOKENS, *PLACES)
]


@pytest.mark.parametrize("name", OTHERS)
def test_a_graph_of_any_size_equals_eager(name: str) -> None:
    if name in ("ablationcam", "smoothgradcam++") and torch.__version__ < (2, 11):
        pytest.skip(
            "before 2.11 PyTorch loses a product of two sizes, and the export ends in an ExportError"
        )
    s = setting(name)
    bound = camport.bind(s.model, s.method, s.layer)
    with quiet():
        graph = lowered(bound, s.x)
    for size in SIZES:
        x, target = images(3, size, seed=7), torch.tensor([0, 2, 1])
        with quiet():
            eager = bound(x, target)
        found = replay(graph)(state_of(graph.graph), {"images": x, "target": target})["heatmap"]
        assert found.shape == eager.heatmap.shape
        torch.testing.assert_close(found.float(), eager.heatmap, rtol=0, atol=2e-5)
