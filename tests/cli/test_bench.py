"""`camport bench`: what it says of a run, its exit status, and what goes wrong as one line."""

import copy
import json

import pytest

from camport import methods
from camport.bench import launch
from tests.bench.reports import report

LOOK = ("bench", "-m", "demo:digits", "--method", "gradcam", "--engine", "eager")
FIRST = {"gradcam": (1.38, 1.40, 1.42)}


@pytest.fixture
def measured(monkeypatch):
    """measured(figures): what the next run measures; the plan that it was given."""
    plans = []

    def measure(figures, **changes):
        found = report(figures) | changes
        monkeypatch.setattr(
            launch, "run", lambda plan, progress: plans.append(plan) or copy.deepcopy(found)
        )
        return plans

    return measure


def test_the_first_run_has_nothing_beside_it(camport, measured):
    measured(FIRST)
    done = camport(*LOOK, "--compare")
    assert done.status == 0, done.err
    assert "no earlier run on this machine has these entries" in done.out
    assert "1.40 [1.38, 1.42]" in done.out


def test_a_slowdown_fails_and_is_told(camport, measured):
    measured(FIRST)
    assert camport(*LOOK).status == 0
    measured({"gradcam": (1.68, 1.70, 1.72)})
    for _ in range(2):  # and does not become the measure by being repeated
        done = camport(*LOOK, "--compare")
        assert done.status == 1
        assert (
            "slower: demo:digits, batch 1: gradcam, eager: 1.70 [1.68, 1.72] times the bare pass, "
            in done.out
        )
        assert "1.40 [1.38, 1.42] in 0001_camport.json (+21%)" in done.out
    assert camport(*LOOK).status == 0  # accepted
    assert camport(*LOOK, "--compare").status == 0


def test_noise_does_not_fail(camport, measured):
    measured(FIRST)
    camport(*LOOK)
    measured({"gradcam": (1.41, 1.80, 1.90)})
    done = camport(*LOOK, "--compare")
    assert done.status == 0
    assert (
        "within noise, measure longer by --seconds: demo:digits, batch 1: gradcam, eager: 1.80"
        in done.out
    )


def test_the_page_has_ratios_memory_and_what_was_left_out(camport, measured, tmp_path):
    measured(FIRST, left_out={"demo:digits, batch 1: cam, eager": "no linear\nhead"})
    assert camport(*LOOK, "-o", tmp_path / "t.md").status == 0
    page = (tmp_path / "t.md").read_text()
    assert "| method | PyTorch, ms | PyTorch, ratio |" in page
    assert "| `gradcam` | 1.4 | 1.40 [1.38, 1.42] |" in page
    assert "- demo:digits, batch 1: cam, eager: no linear head" in page


def test_a_failure_is_a_failure(camport, measured):
    measured(FIRST, failed={"demo:digits, batch 1: cam, eager": "ZeroDivisionError: division"})
    done = camport(*LOOK)
    assert done.status == 1
    assert "failed: demo:digits, batch 1: cam, eager: ZeroDivisionError: division" in done.out


def test_all_methods_with_the_options_of_one(camport, measured):
    plans = measured(FIRST)
    camport(
        "bench",
        "-m",
        "demo:digits",
        "--method",
        "all",
        "--method",
        "rise(samples=8)",
        "--batch",
        1,
        "--batch",
        4,
    )
    (plan,) = plans
    assert plan.methods == tuple(
        "rise(samples=8)" if name == "rise" else name for name in methods()
    )
    assert plan.batches == (1, 4)
    assert plan.engines == ("eager", "exported")


def test_one_pass_methods_if_none_is_named(camport, measured):
    plans = measured(FIRST)
    camport("bench", "-m", "demo:digits")
    (plan,) = plans
    assert {"gradcam", "cam", "saliency", "legrad"} <= set(plan.methods)
    assert not {"rise", "scorecam", "guided_gradcam", "integrated_gradients"} & set(plan.methods)


def test_weights_are_not_downloaded(camport, measured):
    plans = measured(FIRST)
    camport("bench", "-m", "torchvision:squeezenet1_1", "--method", "gradcam", "--size", 64)
    assert [(n.spec, n.weights, n.size) for n in plans[0].networks] == [
        ("torchvision:squeezenet1_1", "none", 64)
    ]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--method", "gradcan"), "unknown method 'gradcan'; did you mean 'gradcam'"),
        (("--method", "rise(sample=3)"), "rise has no such option; there is: "),
        (("--engine", "exportd"), "unknown engine 'exportd'; did you mean 'exported'"),
        (("-m", "demo:digit"), "unknown demo network 'digit'"),
        (
            ("-m", "demo:detector"),
            "demo:detector is a model for detection; camport bench measures classifiers",
        ),
        (("-m", "demo:cnn", "--weights", "w.pt"), "--weights is for one network"),
        (("--device", "tpu"), "--device tpu: camport bench measures on cpu and cuda"),
        (("--storage", "no/where"), "no does not exist; make it first"),
        (("-o", "no/where.md"), "no does not exist; make the directory first"),
    ],
)
def test_what_goes_wrong_is_one_line(refused, options, reason):
    refused(reason.replace("(", r"\("), *LOOK, *options)


@pytest.mark.everything
def test_a_run_from_end_to_end(camport, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")  # as where tests are run in several processes
    command = (
        "bench",
        "-m",
        "demo:digits",
        "--method",
        "gradcam@layer2",
        "--method",
        "attention_rollout",
    )
    done = camport(*command, "--batch", 2, "--seconds", 0.2, "--memory", "-o", "t.md")
    assert done.status == 0, done.err
    assert "left out: demo:digits, batch 2: attention_rollout, eager: " in done.out
    (kept,) = (tmp_path / ".camport-bench").rglob("*.json")
    run = json.loads(kept.read_text())
    rows = {
        (b["extra_info"]["method"], b["extra_info"]["engine"]): b["extra_info"]
        for b in run["benchmarks"]
    }
    assert set(rows) == {(m, e) for m in ("bare", "gradcam@layer2") for e in ("eager", "exported")}
    assert {b["group"] for b in run["benchmarks"]} == {"demo:digits, batch 2"}
    for row in rows.values():
        assert row["ratio_cpu_quartiles"][0] <= row["ratio_cpu"] <= row["ratio_cpu_quartiles"][1]
        assert row["memory"]["explained"] > 0
    assert rows["gradcam@layer2", "exported"]["layer"] == "layer2"
    assert run["machine_info"]["node"] == "-"
    assert "| `gradcam@layer2` |" in (tmp_path / "t.md").read_text()
