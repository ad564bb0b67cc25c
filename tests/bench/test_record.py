"""What counts as a slowdown, with which run it is compared, and how runs are kept."""

import json
import threading

import pytest

from camport.bench.record import compared, machine, store, stored
from camport.errors import InputError, OutputError
from tests.bench.reports import report
from tests.faults import fail_each

BEFORE = {"gradcam": (1.38, 1.40, 1.42), "rise": (60.0, 64.0, 68.0)}


def changes(now, *earlier):
    """The comparison with runs 1, 2, ..."""
    return compared(now, {f"{i:04d}": run for i, run in enumerate(earlier, 1)})


@pytest.mark.parametrize(
    ("low", "median", "high", "slower", "doubtful"),
    [
        (1.60, 1.62, 1.64, True, False),  # 15.7 % more, and clear of the earlier quartiles
        (1.59, 1.60, 1.61, False, False),  # 14.3 %, however clear
        (1.41, 1.80, 1.90, False, True),  # 29 %, but its lower quartile is within those before
        (1.10, 1.12, 1.14, False, False),  # faster
    ],
)
def test_slower_is_over_15_percent_and_beyond_noise(low, median, high, slower, doubtful):
    found = changes(report({"gradcam": (low, median, high)}), report(BEFORE))
    assert [c.slower for c in found.changes] == [slower]
    assert len(found.slower) == slower
    assert len(found.doubtful) == doubtful
    assert found.changes[0].factor == pytest.approx(median / 1.40)


def test_noise_of_the_earlier_run_counts_too():
    now = report({"rise": (84.0, 90.0, 95.0)})
    assert changes(now, report(BEFORE)).slower
    assert not changes(now, report({"rise": (50.0, 64.0, 85.0)})).slower


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": {"brand_raw": "Another Processor", "count": 2}},
        {"cpu": {"brand_raw": "A Processor", "count": 4}},
        {"device": "cuda", "device_line": "A GPU; A Processor, 1 thread"},
        {"threads": 2},
        {"python_version": "3.12.1"},
    ],
)
def test_another_machine_is_not_compared(other):
    found = changes(report(BEFORE), report({"gradcam": (0.4, 0.5, 0.6)}, **other))
    assert found.changes == ()
    assert found.new == (
        "demo:digits, batch 1: gradcam, eager",
        "demo:digits, batch 1: rise, eager",
    )


def test_of_two_graphics_cards_each_is_a_machine_of_its_own():
    cards = [
        report(BEFORE, device="cuda", device_line=f"{name}; A Processor, 1 thread") for name in "ab"
    ]
    assert not changes(cards[0], cards[1]).changes
    ratios = [c.now.ratio for c in changes(cards[0], cards[0]).changes]
    assert ratios == [9.0, 9.0]  # the wall clock counts there


def test_python_of_another_patch_level_is_the_same_machine():
    assert machine(report(BEFORE)) == machine(report(BEFORE, python_version="3.11.9"))


def test_each_entry_is_compared_with_the_last_run_that_has_it():
    found = changes(
        report({"gradcam": (2.0, 2.0, 2.0), "rise": (64.0, 64.0, 64.0), "new": (1.0, 1.0, 1.0)}),
        report(BEFORE),
        report({"gradcam": (1.9, 1.9, 1.9)}),
    )
    assert [(c.run, c.before.ratio) for c in found.changes] == [("0002", 1.9), ("0001", 64.0)]
    assert [entry.rsplit(": ", 1)[1] for entry in found.new] == ["new, eager"]


def test_a_slowdown_does_not_become_the_measure_by_being_repeated():
    slow = report({"gradcam": (2.0, 2.0, 2.0)})
    first = changes(slow, report(BEFORE))
    refused = {**slow, "slower": [c.entry for c in first.slower]}
    assert changes(slow, report(BEFORE), refused).slower
    assert not changes(slow, report(BEFORE), slow).slower  # kept without being compared: accepted


def test_runs_are_kept_whole_in_their_order(tmp_path):
    first, second = report(BEFORE), report({"cam": (1.0, 1.0, 1.0)})
    assert store(first, tmp_path / "kept").name == "0001_camport.json"
    assert store(second, tmp_path / "kept").name == "0002_camport.json"
    assert list(stored(tmp_path / "kept").values()) == [first, second]
    names = sorted(f.name for f in (tmp_path / "kept").rglob("*") if f.is_file())
    assert names == ["0001_camport.json", "0002_camport.json"]


def test_two_at_once_take_no_place_of_each_other(tmp_path):
    runs = [report({f"m{i}": (1.0, 1.0, 1.0)}) for i in range(8)]
    threads = [threading.Thread(target=store, args=(run, tmp_path)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = list(stored(tmp_path).values())
    assert len(kept) == 8
    assert all(run in kept for run in runs)


def test_nothing_kept_is_no_run(tmp_path):
    assert stored(tmp_path / "nowhere") == {}


def test_runs_of_others_in_the_storage_are_left_alone(tmp_path):
    folder = store(report(BEFORE), tmp_path).parent
    (folder / "0002_theirs.json").write_text(json.dumps({"machine_info": {}, "benchmarks": []}))
    assert list(stored(tmp_path)) == ["0001_camport.json"]


def test_a_damaged_run_is_named(tmp_path):
    folder = store(report(BEFORE), tmp_path).parent
    (folder / "0002_camport.json").write_text('{"machine_info": ')
    with pytest.raises(
        InputError, match=r"0002_camport\.json is no run of camport bench .*; remove it"
    ):
        stored(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot hold the run"):
        store(report(BEFORE), tmp_path / "file")


def test_each_operation_of_storing_fails_once(tmp_path):
    """What is left is the earlier run alone, or both: no draft, and no run that is cut off."""
    folder = store(report(BEFORE), tmp_path / "runs").parent
    earlier = {path.name: path.read_bytes() for path in folder.iterdir()}
    now = json.dumps(report({"rise": (50.0, 64.0, 85.0)}), indent=1).encode()
    told = fail_each(
        lambda: store(json.loads(now), tmp_path / "runs"),
        folder,
        earlier,
        lambda files: files == {**earlier, "0002_camport.json": now},
    )
    assert told.failures == []
    assert {"open", "write", "fsync"} <= set(told.faults)
