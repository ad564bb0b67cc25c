"""What draws random numbers is refused by operator and module or method; what draws none,
or in vain, is not."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

import camport
from camport.errors import ExportError
from camport.export import pipeline, to_onnx, to_pt2, to_torchscript
from camport.export.onnx_file.lint import lint
from camport.export.preflight.called_operators import check_called

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Drawing(nn.Module):
    """A place for a function that draws."""

    def __init__(self, draw) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, x: Tensor) -> Tensor:
        return self.draw(x)


class Net(nn.Module):
    def __init__(self, odd: nn.Module) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, 2)
        self.neck = nn.Sequential(nn.ReLU(), odd)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.neck(self.features(x)).mean((2, 3)))


def through_a_view(x: Tensor) -> Tensor:
    noise = torch.zeros_like(x)
    noise[:, :, :2].normal_()
    return x + noise


def in_vain(x: Tensor) -> Tensor:
    """As models do that skip layers at random in training."""
    chance = torch.rand([])
    return (
        torch.where(chance < 0.5, x, 2 * x) if torch.is_grad_enabled() and x.shape[1] == 99 else x
    )


def missing(operator, args):
    return None


def refused(model: nn.Module, method="gradcam", layer="features") -> str:
    program = camport.bind(model, method, layer).program(IMAGES)
    with pytest.raises(ExportError) as caught:
        check_called(program, program.state, program.sample(IMAGES, 2, 0), missing, "ONNX")
    return str(caught.value)


@pytest.mark.parametrize(
    ("draw", "operator"),
    [
        (lambda x: x + 0.1 * torch.randn_like(x), "aten.randn_like"),
        (lambda x: x + torch.rand(x.shape[1:]), "aten.rand"),
        (lambda x: x + torch.randn(1, generator=torch.Generator().manual_seed(0)), "aten.randn"),
        (lambda x: x * torch.bernoulli(x.sigmoid()), "aten.bernoulli"),
        (lambda x: x * torch.randint(1, 3, (1,)), "aten.randint"),
        (lambda x: x[:, torch.randperm(4)], "aten.randperm"),
        (lambda x: x + torch.empty_like(x).uniform_(), "aten.uniform_"),
        (lambda x: x + torch.zeros_like(x).random_(3), "aten.random_"),
        (
            lambda x: x + torch.multinomial(x.detach().flatten(1).softmax(1), 1)[:, :, None, None],
            "aten.multinomial",
        ),
        (lambda x: nn.functional.dropout(x, 0.2, True), "aten.native_dropout"),
        (through_a_view, "aten.normal_"),
    ],
)
def test_a_model_that_draws(draw, operator: str) -> None:
    said = refused(Net(Drawing(draw)).eval())
    assert said.startswith(operator)
    assert " in 'neck.1' (Drawing) draws random numbers, and 'outputs' and " in said


class Noisy(camport.Explainer):
    """Weights that are drawn."""

    name, title, paper, family, needs_gradients = "noisy", "Noisy", "-", "activation", False

    def saliency(self, probe):
        """A random sum."""
        return (probe.activations[0] * torch.rand_like(probe.activations[0])).sum(1).relu()


@pytest.mark.parametrize(
    ("write", "suffix"), [(to_onnx, "onnx"), (to_pt2, "pt2"), (to_torchscript, "pt")]
)
def test_a_method_that_draws_leaves_no_file(
    tmp_path: Path, monkeypatch, write, suffix: str
) -> None:
    monkeypatch.setattr(pipeline, "lower", None)  # refused before anything is traced
    said = (
        r"^aten\.rand_like\.default in method 'noisy' \(Noisy\) draws random numbers, and 'heatmap'"
        r" depends on them"
    )
    with pytest.raises(ExportError, match=said):
        write(
            camport.bind(Net(nn.ReLU()).eval(), Noisy(), "features"),
            tmp_path / f"x.{suffix}",
            IMAGES,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model",
    [
        Net(Drawing(in_vain)).eval(),
        Net(nn.Dropout(0.5)).eval(),
        Net(nn.Dropout(0.5)).train(),  # explained as in evaluation
        Net(nn.Dropout(0.0)).train(),
        Net(nn.RReLU()).eval(),
        Net(Drawing(lambda x: torch.empty_like(x).normal_().mul_(0).shape and x)).eval(),
    ],
)
def test_what_draws_nothing_that_counts(model: nn.Module) -> None:
    program = camport.bind(model, "gradcam", "features").program(IMAGES)
    check_called(program, program.state, program.sample(IMAGES, 2, 0), missing, "ONNX")


@pytest.mark.parametrize("method", ["rise", "smoothgrad", "drise", "sscam", "smoothgradcam++"])
def test_camports_own_noise_has_a_seed(method: str) -> None:
    program = camport.bind(Net(nn.ReLU()).eval(), method, "features").program(IMAGES)
    check_called(program, program.state, program.sample(IMAGES, 2, 0), missing, "ONNX")


def test_what_is_drawn_in_vain_is_not_in_the_file(tmp_path: Path) -> None:
    to_onnx(
        camport.bind(Net(Drawing(in_vain)).eval(), "gradcam", "features"),
        tmp_path / "x.onnx",
        IMAGES,
    )
    assert not {node.op_type for node in onnx.load(tmp_path / "x.onnx").graph.node} & {
        "RandomUniform"
    }


def test_lint_looks_into_inner_graphs(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    drawn = helper.make_node("RandomUniformLike", ["x"], ["y"], name="noise")
    inner = helper.make_graph([drawn], "branch", [], [value("y", 1, ["b", 3])])
    node = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    inputs = [value("x", 1, ["b", 3]), value("c", 9, [])]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, [value("z", 1, ["b", 3])]),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ExportError, match="RandomUniformLike noise draws random numbers"):
        lint(tmp_path / "x.onnx", None)
