"""An export that fails names the stage, the pass, the operator,
the module and the line of the model's own code."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.cli import main
from camport.errors import ExportError, ParityError
from camport.export import lower, to_onnx, to_pt2
from camport.export.operators.registry import FORMS
from camport.export.writing.to_onnx import Onnx

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
THRESHOLD = torch.ops.aten.threshold_backward.default


def bessel(x):
    return x + torch.special.bessel_j0(x.detach())


class Bessel(nn.Module):
    """Calls an operator that has no ONNX form from a function of its own."""

    def forward(self, x):
        return bessel(x)


class Turned(nn.Module):
    """Its gradient has no rule."""

    def forward(self, x):
        turn = x.new_tensor([[[1, 0.05, 0], [0, 1, 0]]]).expand(x.shape[0], 2, 3)
        grid = F.affine_grid(turn, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bicubic", align_corners=False)


class Leaving(torch.autograd.Function):
    """Leaves PyTorch on the way back."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(gradient.numpy() * 2)


class Left(nn.Module):
    def forward(self, x):
        return Leaving.apply(x)


class Curved(torch.autograd.Function):
    """Its gradient calls an operator that has no ONNX form."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient + 0 * torch.special.bessel_j1(gradient)


class Bent(nn.Module):
    def forward(self, x):
        return Curved.apply(x)


class Branching(nn.Module):
    def forward(self, x):
        return x * 2 if x.mean() > 0 else x * 3


class Drawing(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Plain(nn.Module):
    def forward(self, x):
        return 1.5 * x


class Net(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, 2)
        self.neck = nn.Sequential(nn.Tanh(), nn.Sequential(part, nn.ReLU()))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.neck(self.features(x)).mean((2, 3)))


def line(source, text):
    """The line of this file that has `text`, in the function or class `source`."""
    lines, first = inspect.getsourcelines(source)
    (found,) = (number for number, one in enumerate(lines, first) if text in one)
    return f"test_failure_location.py:{found}"


HEAD = f"{line(Net.forward, 'self.head(')} in forward"


def failure(part, path, write=to_onnx, kind=ExportError):
    with pytest.raises(kind) as raised:
        write(camport.bind(Net(part).eval(), "gradcam", "features"), path / "x.onnx", IMAGES)
    assert not list(path.iterdir())
    (note,) = raised.value.__notes__
    stage, *parts = note.removeprefix("stage of the export: ").split("; ")
    return str(raised.value), {"stage": stage, **dict(part.split(": ", 1) for part in parts)}


@pytest.mark.parametrize(
    ("part", "stage", "operator", "module", "where"),
    [
        (Bessel(), "preflight", "aten.special_bessel_j0.default", "Bessel", (bessel, "bessel_j0")),
        (
            Turned(),
            "preflight",
            "aten.grid_sampler_2d_backward.default",
            "Turned",
            (Turned.forward, "grid_sample("),
        ),
        (Left(), "capture", "LeavingBackward", "Left", (Leaving.backward, "numpy()")),
        (
            Bent(),
            "preflight",
            "aten.special_bessel_j1.default",
            "Bent",
            (Curved.backward, "bessel_j1"),
        ),
        (
            Branching(),
            "preflight",
            "aten._local_scalar_dense.default",
            "Branching",
            (Branching.forward, "mean() > 0"),
        ),
        (
            Drawing(),
            "preflight",
            "aten.rand_like.default",
            "Drawing",
            (Drawing.forward, "rand_like"),
        ),
    ],
)
def test_what_a_model_does(tmp_path, part, stage, operator, module, where):
    _, found = failure(part, tmp_path)
    assert found == {
        "stage": stage,
        "operator": operator,
        "module": f"'neck.1.0' ({module})",
        "line": f"{line(*where)} in {where[0].__name__}",
    }


@pytest.mark.parametrize(
    ("name", "stage"), [("BEFORE", "before the rules"), ("AFTER", "behind the rules")]
)
@pytest.mark.parametrize("kind", [ValueError, ExportError])
def test_a_pass(monkeypatch, tmp_path, name, stage, kind):
    def halving(graph):
        for node in graph.graph.nodes:
            if node.target == torch.ops.aten.tanh.default:
                raise kind("not to be halved")
        return 0

    monkeypatch.setattr(lower, name, (*getattr(lower, name), halving))
    _, found = failure(Plain(), tmp_path)
    assert found == {
        "stage": f"passes {stage}",
        "pass": "halving",
        "operator": "aten.tanh.default",
        "module": "'neck.0' (Tanh)",
        "line": HEAD,
    }


def test_a_rule(monkeypatch, tmp_path):
    def broken(*arguments):
        raise ValueError("not today")

    monkeypatch.setattr(Onnx, "rules", {**Onnx.rules, THRESHOLD: broken})
    text, found = failure(Plain(), tmp_path)
    assert text == f"the rule for {THRESHOLD} failed: ValueError: not today"
    assert found == {
        "stage": "backward rules",
        "operator": str(THRESHOLD),
        "module": "'neck.1.1' (ReLU)",
        "line": HEAD,
    }


def test_a_proof(monkeypatch, tmp_path):
    monkeypatch.setattr(
        Onnx, "rules", {**Onnx.rules, THRESHOLD: lambda gradient, *rest: 2 * gradient}
    )
    text, found = failure(Plain(), tmp_path, kind=ParityError)
    assert text.startswith("the lowered graph is wrong: output 'heatmap' is ")
    assert found == {"stage": "proof of the graph, in float64"}


def test_what_no_rule_lowers_where_the_preflight_let_it_pass(monkeypatch, tmp_path):
    monkeypatch.setattr(Onnx, "missing", lambda *arguments: None)
    _, found = failure(Turned(), tmp_path)
    assert found == {
        "stage": "preflight of the lowered graph",
        "operator": "aten.grid_sampler_2d_backward.default",
        "module": "'neck.1.0' (Turned)",
        "line": f"{line(Turned.forward, 'grid_sample(')} in forward",
    }


def test_the_form_of_an_own_operator(monkeypatch, tmp_path):
    def broken(op, gradient, result):
        raise ValueError("no form")

    monkeypatch.setitem(FORMS, torch.ops.camport.relu_grad.default, broken)
    text, found = failure(Plain(), tmp_path)
    assert text == "torch.onnx refused the lowered graph: ValueError: no form"
    assert found == {
        "stage": "writing ONNX",
        "operator": "camport.relu_grad.default",
        "module": "'neck.1.1' (ReLU)",
        "line": HEAD,
    }


def test_half_precision_inside_a_model(tmp_path):
    class Narrow(nn.Module):
        def forward(self, x):
            return x.half().float()

    _, found = failure(Narrow(), tmp_path, to_pt2)
    assert found["stage"] == "preflight of the lowered graph"
    assert found["module"] == "'neck.1.0' (Narrow)"
    assert found["line"] == f"{line(Narrow.forward, 'half()')} in forward"


def test_a_method_that_draws(tmp_path):
    class Shaky(camport.Explainer):
        """Adds a number that it draws."""

        name, title, paper, family, needs_gradients = "shaky", "Shaky", "-", "activation", False

        def saliency(self, probe):
            return probe.activations[0].sum(1) + torch.rand(())

    with pytest.raises(ExportError) as raised:
        to_onnx(camport.bind(Net(Plain()).eval(), Shaky(), "features"), tmp_path / "x.onnx", IMAGES)
    where = f"{line(Shaky.saliency, 'torch.rand(')} in saliency"
    assert raised.value.__notes__ == [
        "stage of the export: preflight; operator: aten.rand.default; module: method 'shaky'"
        f" (Shaky); line: {where}"
    ]


def test_the_command_says_it_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bent_network.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Bent(nn.Module):\n    def forward(self, x):\n "
        "       return x * torch.special.bessel_j0(x.detach())\n\ndef net():\n    return"
        " nn.Sequential(nn.Conv2d(3, 4, 3), Bent(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),"
        " nn.Linear(4, 2))\n"
    )
    command = [
        "export",
        "-m",
        "bent_network:net",
        "--size",
        "16x16",
        "--layer",
        "0",
        "-o",
        str(tmp_path / "x.onnx"),
    ]
    assert main(command) == 2
    (said,) = capsys.readouterr().err.splitlines()
    place = (
        "operator: aten.special_bessel_j0.default; module: '1' (Bent); line: bent_network.py:6 in"
        " forward"
    )
    assert said.endswith(f"(stage of the export: preflight; {place})")
