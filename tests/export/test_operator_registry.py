"""torch.onnx's registry of forms is built once, not once an export,
and the files are none the less the same."""

import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

import camport
from camport.export import to_onnx
from camport.export.onnx_file import operator_registry as module
from camport.export.onnx_file.operator_registry import kept_registry, operator_registry

RELU = torch.ops.aten.relu.default


@pytest.fixture
def builds(monkeypatch):
    """The opsets that registries are built for from here on."""
    asked, build = [], module._BUILD

    def counted(opset_version):
        asked.append(opset_version)
        return build(opset_version=opset_version)

    monkeypatch.setattr(module, "_BUILD", counted)
    module._built.cache_clear()
    yield asked
    module._built.cache_clear()


def test_two_exports_build_one_registry_and_write_the_same_bytes(builds, tmp_path):
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    bound = camport.bind(model, layer="1")
    for name in ("first", "second"):
        to_onnx(bound, tmp_path / f"{name}.onnx", torch.randn(2, 3, 6, 7))
    assert builds == [20]
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_torch_onnx_finds_in_it_what_it_would_have_built():
    with kept_registry():
        kept = ONNXRegistry().from_torchlib(opset_version=23)
    built = ONNXRegistry().from_torchlib(opset_version=23)
    assert kept.opset_version == built.opset_version == 23
    assert list(kept.functions) == list(built.functions)
    for operator, forms in built.functions.items():
        assert [form.onnx_function for form in kept.functions[operator]] == [
            form.onnx_function for form in forms
        ]


def test_the_translations_of_one_export_do_not_reach_the_next():
    with kept_registry():
        ONNXRegistry().from_torchlib(opset_version=20).register_op(RELU, lambda x: x)
        assert not any(
            form.is_custom
            for form in ONNXRegistry().from_torchlib(opset_version=20).get_decomps(RELU)
        )
    assert not any(form.is_custom for form in operator_registry(20).get_decomps(RELU))


def test_pytorch_is_left_as_found():
    before = vars(ONNXRegistry)["from_torchlib"]
    with kept_registry():
        assert vars(ONNXRegistry)["from_torchlib"] is not before
    assert vars(ONNXRegistry)["from_torchlib"] is before
    with pytest.raises(ZeroDivisionError), kept_registry():
        raise ZeroDivisionError
    assert vars(ONNXRegistry)["from_torchlib"] is before


def test_operators_that_are_loaded_later_are_looked_up():
    """torchvision's operators have forms only once torchvision is imported."""
    before = operator_registry(20)
    library = torch.library.Library("camport_loaded_later", "DEF")
    try:
        library.define("twice(Tensor x) -> Tensor")
        assert operator_registry(20) is not before
    finally:
        library._destroy()
    assert operator_registry(20) is before
