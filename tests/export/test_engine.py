"""Exporting small nets: what the file computes, what is refused,
and that nothing is left behind or changed."""

import copy
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from programs import IMAGES, Bound, CamProgram, small
from torch import Tensor, nn

import camport
from camport.errors import ExportError, OutputError, ParityError
from camport.export import ExportReport, to_onnx
from camport.export.writing import to_onnx as onnx_format
from tests.shared_files import SharedFiles


def export(
    net: nn.Module, layer: str, path: Path, images: Tensor = IMAGES, **options: object
) -> ExportReport:
    return to_onnx(Bound(CamProgram(net, layer, classes=10)), path, images, **options)


def exported(shared: SharedFiles, layer: str, **options: object) -> tuple[Path, ExportReport]:
    """The folder with small.onnx, and the report; to be read only."""
    name = "-".join(["small", layer, *map(str, options.values())])
    return shared(name, lambda folder: export(small(), layer, folder / "small.onnx", **options))


@pytest.mark.parametrize("layer", ["2", "4", "9"])
def test_small_net(shared: SharedFiles, layer: str) -> None:
    folder, report = exported(shared, layer)
    assert [p.name for p in folder.iterdir()] == ["small.onnx"]
    assert report.bytes == (folder / "small.onnx").stat().st_size
    assert list(report.parity) == ["outputs", "score", "heatmap", "feature_maps", "gradients"]
    assert all(parity.holds for parity in report.parity.values())
    assert report.lowered < 1e-12
    assert "heatmap" in str(report)
    assert str(report.nodes) in str(report)
    assert report.operators["Resize"] >= 1


def test_names_axes_and_metadata(shared: SharedFiles) -> None:
    model = onnx.load(exported(shared, "9")[0] / "small.onnx")
    assert {o.domain: o.version for o in model.opset_import} == {"": 20}
    assert [v.name for v in model.graph.input] == ["images", "target"]
    assert [v.name for v in model.graph.output] == [
        "outputs",
        "score",
        "heatmap",
        "feature_maps",
        "gradients",
    ]
    shapes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {
        "images": ["b", 3, 33, 40],
        "target": ["b"],
        "outputs": ["b", 10],
        "score": ["b"],
        "heatmap": ["b", 33, 40],
        "feature_maps": ["b", 16, 3, 3],
        "gradients": ["b", 16, 3, 3],
    }
    assert {p.key: p.value for p in model.metadata_props} == {
        "camport.method": "gradcam",
        "camport.layer": "9",
    }
    assert model.producer_name == "camport"


def test_batch_norm_is_folded_and_weights_stored_once(shared: SharedFiles) -> None:
    net = small()
    folder, report = exported(shared, "2")
    assert "BatchNormalization" not in report.operators
    model = onnx.load(folder / "small.onnx")
    sizes = {t.name: onnx.numpy_helper.to_array(t).size for t in model.graph.initializer}
    assert sum("folded_weight" in name for name in sizes) == 3
    assert max(sizes.values()) == net[7].weight.numel()
    assert list(sizes.values()).count(net[7].weight.numel()) == 1


@pytest.mark.parametrize("size", [(33, 40), (48, 41)])
def test_dynamic_size(shared: SharedFiles, size: tuple[int, int]) -> None:
    folder, _ = exported(shared, "2", dynamic="batch+size")
    run = onnx_format.runner(folder / "small.onnx")
    inputs = {"images": torch.randn(2, 3, *size), "target": torch.tensor([-1, 3])}
    got, program = run(inputs), CamProgram(small(), "2")
    for name, expected in program(program.state, inputs).items():
        assert got[name].shape == expected.shape
        assert (got[name] - expected).norm() <= 1e-4 * expected.norm()


@pytest.mark.parametrize("size", [(33, 33), (48, 41)])
def test_dynamic_size_of_a_method_that_builds_on_it(
    shared: SharedFiles, size: tuple[int, int]
) -> None:
    """ODAM's Gaussian: matrices as large as the layer in PyTorch, convolutions in the file;
    traced on square images."""
    bound = camport.bind(small(), "odam", "2")
    folder, _ = shared(
        "small-odam",
        lambda folder: to_onnx(
            bound, folder / "small.onnx", IMAGES[..., :33], dynamic="batch+size"
        ),
    )
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    got = onnx_format.runner(folder / "small.onnx")(
        {"images": images, "target": torch.tensor([-1, -1])}
    )
    torch.testing.assert_close(got["heatmap"], bound(images).heatmap, rtol=0, atol=1e-5)


def test_model_is_left_as_found_and_nothing_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = small()
    before = copy.deepcopy(net.state_dict())
    pointers = {k: v.data_ptr() for k, v in net.state_dict().items()}
    levels = {n: logging.getLogger(n).level for n in ("torch.onnx", "onnxscript", "torch.export")}
    filters, grad, dtype = (
        list(warnings.filters),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )
    export(net, "9", tmp_path / "small.onnx")
    assert capfd.readouterr() == ("", "")
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())
    assert pointers == {k: v.data_ptr() for k, v in net.state_dict().items()}
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    assert levels == {n: logging.getLogger(n).level for n in levels}
    assert filters == list(warnings.filters)
    assert grad == torch.is_grad_enabled()
    assert dtype == torch.get_default_dtype()


class Sampled(nn.Module):
    """Its gradient has no ONNX form: bicubic grid sampling."""

    def forward(self, x: Tensor) -> Tensor:
        grid = F.affine_grid(
            x.new_tensor([[[1, 0.1, 0], [0, 1, 0]]]).expand(x.shape[0], 2, 3),
            x.shape,
            align_corners=False,
        )
        return F.grid_sample(x, grid, mode="bicubic", align_corners=False)


def test_unsupported_operator_is_named(tmp_path: Path) -> None:
    net = small()
    net.insert(10, Sampled())
    with pytest.raises(
        ExportError, match=r"aten\.grid_sampler_2d_backward\.default in '10' \(Sampled\)"
    ):
        export(net, "9", tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(13, *x.shape[1:])


def test_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'b'"):
        export(nn.Sequential(FixedBatch(), *small()), "10", tmp_path / "small.onnx")


def test_target_is_checked_first(tmp_path: Path) -> None:
    bound = Bound(None)
    with pytest.raises(OutputError, match="does not exist"):
        to_onnx(bound, tmp_path / "nowhere" / "a.onnx", IMAGES)
    with pytest.raises(OutputError, match="is a directory"):
        to_onnx(bound, tmp_path, IMAGES)


class Drifting(CamProgram):
    """Another function at another time: what a wrong export looks like."""

    calls = 0

    def __call__(self, state, inputs):
        Drifting.calls += 1
        result = super().__call__(state, inputs)
        if Drifting.calls > 2:  # the first two are the look at its operators and the tracing
            result["score"] = result["score"] * 1.001
        return result


def test_wrong_graph_is_refused(tmp_path: Path) -> None:
    Drifting.calls = 0
    (tmp_path / "small.onnx").write_bytes(b"old")
    with pytest.raises(ParityError, match=r"output 'score' is 1\.0e-03 off"):
        to_onnx(Bound(Drifting(small(), "9", classes=10)), tmp_path / "small.onnx", IMAGES)
    assert [p.name for p in tmp_path.iterdir()] == ["small.onnx"]
    assert (tmp_path / "small.onnx").read_bytes() == b"old"


def test_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = onnx_format.runner

    def wrong(path: Path):
        run = honest(path)
        return lambda inputs: {
            k: v * 1.001 if k == "gradients" else v for k, v in run(inputs).items()
        }

    monkeypatch.setattr(onnx_format, "runner", wrong)
    with pytest.raises(ParityError, match=r"'gradients' of the exported graph is 1\.0e-03 off"):
        export(small(), "9", tmp_path / "small.onnx")
    assert not list(tmp_path.iterdir())


def test_importing_is_light() -> None:
    code = (
        "import sys, camport.export as e; "
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules); print(sorted(dir(e)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "to_onnx" in done.stdout


def test_missing_package_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['onnxscript'] = None; import camport.export as e\n"
        "try: e.to_onnx\nexcept Exception as x: print(type(x).__name__, x)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "camport[torch]"' in done.stdout
    assert done.stdout.startswith("MissingDependencyError")


class Cached(nn.Module):
    """Keeps a tensor for each device, as LeViT does: a name that a module has for a method."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = {"cpu": torch.full((1, 8, 1, 1), 0.5), "float": [torch.ones(1)]}

    def forward(self, x: Tensor) -> Tensor:
        return x * self.cache[x.device.type] * self.cache["float"][0]


def test_tensors_kept_by_device(tmp_path: Path) -> None:
    net = small()
    net.insert(3, Cached())
    report = to_onnx(camport.bind(net, "gradcam", "10"), tmp_path / "small.onnx", IMAGES)
    assert report.lowered < 1e-12
