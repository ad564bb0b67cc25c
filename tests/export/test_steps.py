"""What is done to a proven .onnx file: a further step is a class and a line."""

import onnx
import onnx_ir as ir
import pytest
import torch

import camport
from camport.cli import main
from camport.errors import ExportError
from camport.export import to_onnx
from camport.export.onnx_file import finishing
from camport.export.onnx_file.ort import session
from camport.export.onnx_file.step import Step, ensures, requires
from camport.export.stages import recorded
from tests.nets import Net, images, seeded


class Doubled(Step):
    """A further output, twice the score."""

    name = "doubled"

    def requires(self, model):
        """A score, and no such output yet."""
        names = [value.name for value in model.graph.outputs]
        requires("score" in names and "twice" not in names, "a score")

    def call(self, model):
        """Adds it."""
        (score,) = (value for value in model.graph.outputs if value.name == "score")
        node = ir.node("Add", [score, score])
        twice = node.outputs[0]
        twice.name, twice.shape, twice.type = "twice", score.shape, score.type
        model.graph.append(node)
        model.graph.outputs.append(twice)
        return ir.passes.PassResult(model, modified=True)

    def ensures(self, model):
        """It is the last one."""
        ensures(model.graph.outputs[-1].name == "twice", "a last output 'twice'")

    def prove(self, draft):
        """Compares the file with the one before."""
        feeds = {
            name: value.numpy() for name, value in draft.program.sample(draft.images, 1, 0).items()
        }
        (score,), (twice,) = (
            session(draft.before).run(["score"], feeds),
            session(draft.path).run(["twice"], feeds),
        )
        if (twice != 2 * score).any():
            raise ExportError("'twice' is not twice the score")
        return {}


class Tripled(Doubled):
    """Adds something else than it says."""

    def call(self, model):
        """Three times the score."""
        result = super().call(model)
        sum_ = model.graph.outputs[-1].producer()
        twice = ir.node("Add", list(sum_.inputs))
        twice.outputs[0].shape, twice.outputs[0].type = sum_.outputs[0].shape, sum_.outputs[0].type
        model.graph.insert_before(sum_, twice)
        sum_.replace_input_with(0, twice.outputs[0])
        return result


class Twofold(Doubled):
    """Adds nothing."""

    def call(self, model):
        """Nothing."""
        return ir.passes.PassResult(model, modified=False)


def bound():
    return camport.bind(seeded(Net(), dtype=torch.float32), "gradcam", layer="features")


@pytest.fixture
def added(monkeypatch):
    """Puts a step behind the others, as a line in STEPS does."""

    def put(step):
        monkeypatch.setattr(
            finishing, "STEPS", (*finishing.STEPS, (step, "last: it reads the score"))
        )

    return put


def test_a_line_adds_a_step_that_the_command_shows(added, tmp_path, capsys):
    added(Doubled)
    path = tmp_path / "x.onnx"
    assert main(["export", "-m", "demo:gap-pool", "-o", str(path), "--explain"]) == 0
    shown = capsys.readouterr().out.splitlines()
    nodes = len(onnx.load(path).graph.node)
    last = [line for line in shown if " s  " in line][-1]
    assert last.endswith(f" s  doubled: nodes {nodes}")
    run = session(path)
    assert [value.name for value in run.get_outputs()][-1] == "twice"
    pixels = torch.rand(
        3, *run.get_inputs()[0].shape[1:], generator=torch.Generator().manual_seed(0)
    ).numpy()
    score, twice = run.run(["score", "twice"], {"images": pixels, "target": [-1, 0, 1]})
    assert (twice == 2 * score).all()


def test_steps_follow_each_other_each_from_the_file_before(added, tmp_path):
    added(Doubled)
    report = to_onnx(bound(), tmp_path / "x.onnx", images(2).float(), one_image=True)
    assert [stage.name for stage in report.stages][-2:] == ["one image", "doubled"]
    assert (
        report.stages[-1].counts["nodes"] == report.stages[-2].counts["nodes"] + 1 == report.nodes
    )


@pytest.mark.parametrize(
    ("step", "options", "text"),
    [
        (Tripled, {}, "'twice' is not twice the score"),
        (
            Twofold,
            {},
            (
                "the step 'doubled' of the export: it ensures a last output 'twice', and this is"
                " not so"
            ),
        ),
        (
            Doubled,
            {"outputs": ("heatmap",)},
            "the step 'doubled' of the export: it requires a score",
        ),
    ],
)
def test_a_step_that_is_wrong_leaves_no_file(added, tmp_path, step, options, text):
    added(step)
    with recorded() as stages, pytest.raises(ExportError) as raised:
        to_onnx(bound(), tmp_path / "x.onnx", images(2).float(), **options)
    assert str(raised.value) == text
    assert raised.value.__notes__ == ["stage of the export: doubled"]
    assert (stages[-1].name, stages[-1].failed) == ("doubled", True)
    assert not list(tmp_path.iterdir())
