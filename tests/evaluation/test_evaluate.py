"""Methods x metrics on made scenes: the figures, their intervals,
and a record that survives whatever stops it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import camport
from camport.demo.networks import LABELS, NETWORKS, load
from camport.errors import CamportError, InputError, OutputError
from camport.evaluation import Evaluated, Example, evaluate, open_data
from camport.evaluation.named import key, made
from camport.evaluation.store import FILE, Store
from camport.metrics import EnergyInRegion, PointingGame
from camport.runtime import Preprocess

CHECKOUT = Path(__file__).parents[2]
METHODS, METRICS = ["gradcam", "layercam"], ["pointing_game", "energy_in_region"]


@pytest.fixture(scope="module")
def subject() -> Evaluated:
    network, model = NETWORKS["digits"], load("digits")
    preprocess = Preprocess(size=(128, 128), mean=network.mean, std=network.std)
    return Evaluated(
        model, lambda m, e: camport.bind(m, e, layer=network.layer), preprocess, LABELS
    )


@pytest.fixture(scope="module")
def scenes() -> list[Example]:
    return open_data("demo:scenes", count=7)


@pytest.fixture(scope="module")
def undisturbed(subject, scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    return evaluate(subject, METHODS, METRICS, scenes, folder, batch=3)


def test_figures_are_the_metrics_of_single_maps(undisturbed, subject, scenes):
    found = {(m, metric, e): value for m, metric, e, value in undisturbed.values}
    for example in scenes:
        pixels, _ = subject.preprocess.apply(example.picture())
        region = torch.zeros(1, 128, 128, dtype=torch.bool)
        for left, top, right, bottom in example.boxes.astype(int):
            region[0, top:bottom, left:right] = True
        for method in METHODS:
            bound = subject.bind(subject.model, camport.core.registry.explainer(method)())
            heatmap = bound(torch.from_numpy(pixels)[None], example.target).heatmap
            for metric in (PointingGame(), EnergyInRegion()):
                one = float(metric(heatmap, region))
                assert found[method, metric.name, example.name] == pytest.approx(one, abs=1e-6)


def test_means_intervals_and_gains(undisturbed):
    figures = {
        m: np.array(
            [
                v
                for method, metric, _, v in undisturbed.values
                if (method, metric) == (m, "energy_in_region")
            ]
        )
        for m in ("gradcam", "random")
    }
    cell = undisturbed.cell("gradcam", "energy_in_region")
    assert cell.examples == len(figures["gradcam"]) == 7
    assert cell.mean == figures["gradcam"].mean()
    assert cell.gain == (figures["gradcam"] - figures["random"]).mean()
    # resampled by hand: the interval of the mean of 7 draws with replacement
    draws = np.random.default_rng(3).integers(7, size=(40_000, 7))
    for low, high, data in (
        (cell.low, cell.high, figures["gradcam"]),
        (cell.gain_low, cell.gain_high, figures["gradcam"] - figures["random"]),
    ):
        wanted = np.percentile(data[draws].mean(1), [2.5, 97.5])
        np.testing.assert_allclose([low, high], wanted, atol=0.15 * np.ptp(data) / np.sqrt(7))
    assert cell.gain_low > 0.1
    assert undisturbed.cell("random", "energy_in_region").gain is None


def test_a_lower_figure_may_be_the_better_one(subject, scenes, tmp_path):
    """Gains and ranks turn round with the direction."""

    class Opposite(EnergyInRegion):
        name, better = "opposite", "lower"

        def __call__(self, heatmap, region):
            return -super().__call__(heatmap, region)

    found = evaluate(
        subject, ["gradcam"], [EnergyInRegion(), Opposite()], scenes[:3], tmp_path / "out"
    )
    plain, turned = (found.cell("gradcam", name) for name in ("energy_in_region", "opposite"))
    assert plain.gain > 0
    assert turned.gain == pytest.approx(plain.gain)
    assert found.ranks["gradcam"] == 1


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("after", [0, 1, 4, 7, 11])
def test_stopped_and_started_again(subject, scenes, undisturbed, tmp_path, after):
    calls = []

    def stop(done, total, name):
        calls.append(name)
        if len(calls) > after:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(subject, METHODS, METRICS, scenes, tmp_path / "out", batch=3, progress=stop)
    again = evaluate(subject, METHODS, METRICS, scenes, tmp_path / "out", batch=3)
    assert again == undisturbed


def test_what_is_done_is_not_done_again(subject, scenes, undisturbed, tmp_path):
    """Methods and metrics are added to a record, and only they are computed."""
    folder = tmp_path / "out"
    evaluate(subject, METHODS[:1], METRICS[:1], scenes, folder, batch=3)
    bound = []

    def counted(model, explainer):
        bound.append(subject.bind(model, explainer))
        return bound[-1]

    again = Evaluated(subject.model, counted, subject.preprocess, subject.labels)
    assert evaluate(again, METHODS, METRICS, scenes, folder, batch=3) == undisturbed
    evaluate(again, METHODS, METRICS, scenes, folder, batch=3)
    assert all(one.layers == (NETWORKS["digits"].layer,) for one in bound[:2])


def test_another_model_or_other_examples_are_refused(subject, scenes, tmp_path):
    folder = tmp_path / "out"
    first = Evaluated(
        subject.model, subject.bind, subject.preprocess, subject.labels, settings={"model": "one"}
    )
    other = Evaluated(
        subject.model, subject.bind, subject.preprocess, subject.labels, settings={"model": "two"}
    )
    evaluate(first, ["cam"], METRICS, scenes[:2], folder)
    with pytest.raises(
        InputError, match='holds an evaluation with model "one", and this one has "two"'
    ):
        evaluate(other, ["cam"], METRICS, scenes[:2], folder)
    with pytest.raises(InputError, match="with examples"):
        evaluate(first, ["cam"], METRICS, scenes[:3], folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot hold an evaluation"):
        evaluate(first, ["cam"], METRICS, scenes[:2], tmp_path / "file")


def test_what_does_not_fit_is_said_and_the_rest_measured(subject, scenes, tmp_path):
    examples = [Example(e.name, e.picture, e.target) for e in scenes[:2]]  # no region
    found = evaluate(
        subject, ["gradcam", "attention_rollout"], ["pointing_game"], examples, tmp_path / "out"
    )
    reasons = {(method, metric): reason for method, metric, reason in found.refusals}
    assert "attention" in reasons["attention_rollout", ""]
    assert "needs the true region" in reasons["gradcam", "pointing_game"]
    assert {c.metric for c in found.cells} == {"flat"}


@pytest.mark.parametrize(
    ("methods", "metrics", "reason"),
    [
        (["gradcan"], METRICS, "gradcam"),
        (["gradcam"], ["pointing"], "pointing_game"),
        (
            ["rise(sample=3)"],
            METRICS,
            r"^sample in 'rise\(sample=3\)': rise has no such option; there is: .*samples",
        ),
        (["rise(3)"], METRICS, "options have names; write rise"),
        ([], METRICS, "0 methods"),
    ],
)
def test_wrong_names(subject, scenes, tmp_path, methods, metrics, reason):
    with pytest.raises(CamportError, match=reason):
        evaluate(subject, methods, metrics, scenes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_that_the_model_does_not_have(subject, scenes, tmp_path):
    with pytest.raises(CamportError, match="tabby"):
        evaluate(
            subject, METHODS, METRICS, [Example("a", scenes[0].picture, "tabby")], tmp_path / "out"
        )


def test_keys_are_read_as_they_are_written():
    find = camport.core.registry.explainer
    for text in ("gradcam", "rise(samples=500)", "groupcam(groups=8)"):
        assert key(made(text, find)) == text
    assert key(made("rise(samples=4000)", find)) == key(find("rise")(samples=4000))


def test_a_record_keeps_nan_and_a_batch_is_whole(tmp_path):
    from camport.evaluation.store import Batch

    with Store(tmp_path / "out", {}) as store:
        store.add("m", 0, 0, Batch(figures={"f": np.array([1.0, np.nan])}))
        with pytest.raises(AttributeError):
            store.add("m", 1, 2, Batch(figures={"f": np.array([3.0])}, curves={"f": {"c": [None]}}))
    with Store(tmp_path / "out", {}) as store:
        assert store.lacking("m", ["f"], 0) == []
        assert store.lacking("m", ["f"], 1) == ["f"]
        np.testing.assert_equal(store.figures("m", "f"), {0: 1.0, 1: np.nan})


KILLED = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from camport.cli import main
import camport.evaluation.run, camport.evaluation.report, camport.evaluation.sources, camport.models  # once, for all
import scipy.stats, pyarrow.parquet, matplotlib.figure, camport.demo.networks, camport.demo.scenes, timm  # likewise
command, kills, generator = sys.argv[2:], int(sys.argv[1]), random.Random(7)
stopped, limit = 0, 0.4
for turn in range(400):
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main(command))
    end = time.monotonic() + generator.uniform(0.05, limit) if stopped < kills else time.monotonic() + 300
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        stopped += 1
        continue
    assert status == 0, status
    if stopped >= kills:
        break
    limit /= 2  # too fast to be killed so often: begun anew would be another test
print(stopped)
"""


@pytest.mark.everything
def test_killed_twenty_times(tmp_path):
    options = [
        "--method",
        "gradcam",
        "--method",
        "scorecam",
        "--metric",
        "pointing_game",
        "--metric",
    ]
    command = [
        "evaluate",
        "-m",
        "demo:digits",
        "--data",
        "demo:scenes",
        "--count",
        "40",
        "--batch",
        "4",
        *options,
    ]

    def run(folder, kills):
        arguments = [*command, "energy_in_region", "-o", str(tmp_path / folder)]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(kills), *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert not done.returncode, done.stderr[-3000:]
        return int(done.stdout.split()[-1])

    assert run("undisturbed", 0) == 0
    assert run("killed", 20) == 20
    for name in ("table.csv", "values.csv", "table.parquet", "values.parquet", "report.html"):
        first, second = (
            (tmp_path / folder / name).read_bytes() for folder in ("undisturbed", "killed")
        )
        assert first == second, name
    assert (tmp_path / "killed" / FILE).is_file()
