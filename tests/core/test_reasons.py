"""Chains of exceptions are walked once around, whatever leads back to what."""

import pytest
import torch

import camport
from camport.errors import LayerError, out_of_memory, reasons
from camport.export.failure_location import blamed
from tests.core.test_silent_failures import Side
from tests.nets import images, seeded


def own_cause() -> RuntimeError:
    error = RuntimeError("again")
    error.__cause__ = error
    return error


def circle() -> RuntimeError:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__context__ = second, first
    return first


@pytest.mark.parametrize(("make", "texts"), [(own_cause, ["again"]), (circle, ["first", "second"])])
def test_a_circle_ends(make, texts):
    error = make()
    assert [str(reason) for reason in reasons(error)] == texts
    assert not out_of_memory(error)
    assert blamed(error) == ""


def test_what_was_handled_is_left_out_on_request_and_where_it_is_suppressed():
    error = ValueError("outer")
    error.__context__ = MemoryError("inner")
    assert [str(reason) for reason in reasons(error)] == ["outer", "inner"]
    assert out_of_memory(error)
    assert [str(reason) for reason in reasons(error, handled=False)] == ["outer"]
    error.__suppress_context__ = True
    assert not out_of_memory(error)
    assert list(reasons(None)) == []


def test_a_model_that_raises_what_is_its_own_cause_is_told_of():
    class Again(torch.nn.Module):
        def forward(self, x):
            raise own_cause()

    with pytest.raises(camport.CamportError, match="again"):
        camport.explain(Again(), images(), "saliency", 1)
    with pytest.raises(LayerError) as caught:
        camport.explain(seeded(Side()), images(), target=1, layer="side")
    assert caught.value.__cause__ is not caught.value
