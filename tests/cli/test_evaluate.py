"""`camport evaluate`: tables, a report that opens by itself, and what goes wrong as one line."""

import csv
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/evaluation.md"
LOOK = ("evaluate", "--model", "demo:digits", "--data", "demo:scenes", "--count", "3")


class Page(HTMLParser):
    """Texts by the tag they stand in, and the addresses that the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append((self.tags[-1] if self.tags else "", data))


def test_tables_and_report(camport, tmp_path):
    options = (
        "--method",
        "gradcam",
        "--method",
        "attention_rollout",
        "--metric",
        "energy_in_region",
    )
    done = camport(*LOOK, *options, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    with (tmp_path / "out" / "table.csv").open() as file:
        rows = {(row["method"], row["metric"]): row for row in csv.DictReader(file)}
    assert set(rows) == {
        (m, f) for m in ("random", "centre", "gradcam") for f in ("energy_in_region", "flat")
    }
    assert float(rows["gradcam", "energy_in_region"]["mean"]) > 2 * float(
        rows["random", "energy_in_region"]["mean"]
    )
    assert f"{float(rows['gradcam', 'energy_in_region']['mean']):.3f}" in done.out
    assert "Best by mean rank over the metrics: gradcam" in done.out
    assert "attention_rollout: " in done.out
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.addresses
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert page.tags.count("tr") == 4
    assert page.tags.count("img") == 3 * 4  # three examples: the picture and three maps
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert {(row["method"], row["metric"]): repr(row["mean"]) for row in table} == {
        key: row["mean"] for key, row in rows.items()
    }


def test_labels_and_names_are_escaped(camport, tmp_path, photo):
    name = tmp_path / "images" / "a&<b>.png"
    name.parent.mkdir()
    name.write_bytes(photo.read_bytes())
    (tmp_path / "labels.txt").write_text(
        "\n".join(f"<script>alert({i})</script>" for i in range(10))
    )
    command = ("evaluate", "-m", "demo:digits", "--data", tmp_path / "images", "--method", "cam")
    done = camport(
        *command,
        "--labels",
        tmp_path / "labels.txt",
        "--metric",
        "pointing_game",
        "-o",
        tmp_path / "out",
    )
    assert done.status == 0, done.err
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "script" not in page.tags
    assert any("a&<b>.png" in text for _, text in page.texts)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--data", "nowhere"),
            (
                "nowhere is no folder; wanted is one of demo:scenes, demo:photographs, FOLDER,"
                " COCO.json"
            ),
        ),
        (("--method", "gradcan"), "unknown method 'gradcan'; did you mean 'gradcam'"),
        (("--metric", "pointing"), "unknown metric 'pointing'; did you mean 'pointing_game'"),
        (("--method", "rise(sample=3)"), "rise has no such option; there is: "),
        (("-o", "nowhere/out"), "nowhere does not exist; make it first"),
        (("--device", "tpu7"), "--device tpu7: "),
    ],
)
def test_what_goes_wrong_is_one_line(camport, tmp_path, options, reason):
    done = camport(*LOOK, "-o", tmp_path / "out", *options)
    assert done.status == 2
    assert reason in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.everything
def test_the_page_runs(camport, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    (command,) = re.findall(r"```sh\ncamport (.*?)\n```", text)
    assert camport(*shlex.split(command)).status == 0
    assert {f.name for f in (tmp_path / "scores").iterdir()} >= {
        "report.html",
        "table.csv",
        "values.parquet",
    }
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    known: dict = {}
    exec(compile(code.replace('"scores"', '"others"'), str(PAGE), "exec"), known)
    assert known["table"].cell("gradcam", "pointing_game").mean == 1
