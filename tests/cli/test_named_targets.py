"""`--target NAME=VALUE` says what `--box`, `--question` and `--caption` say."""

import numpy as np
import pytest

from camport.cli.given import told
from camport.errors import InputError
from tests.cli.test_tasks import SCENE

NONE = {"box": None, "question": None, "caption": None, "confidence": None}


@pytest.mark.parametrize(
    ("name", "flags", "texts"),
    [
        ("segmenter", ["--target", "two", "--box", "10,10,40,40"], ["two", "box=10,10,40,40"]),
        ("answerer", ["--question", "how many sevens?"], ["question=how many sevens?"]),
        ("detector", ["--box", "32,34,60,80"], ["box=32,34,60,80"]),
    ],
)
def test_the_maps_are_equal(camport, tmp_path, name, flags, texts):
    found = []
    named = [word for text in texts for word in ("--target", text)]
    for i, options in enumerate((flags, named)):
        done = camport(
            "explain", SCENE, "-m", f"demo:{name}", *options, "-o", tmp_path / f"{i}.npz"
        )
        assert done.status == 0, done.err
        found.append(np.load(tmp_path / f"{i}.npz")["heatmap"])
    assert found[0].max() > 0
    np.testing.assert_array_equal(*found)


def test_what_is_named_and_what_is_a_class():
    label, given = told("vqa", ["two", "question=why = what?"], NONE)
    assert label == "two"
    assert given == NONE | {"question": "why = what?"}
    _, given = told("detection", ["box=1,2,3,4"], NONE | {"box": ["5,6,7,8"]})
    assert given == NONE | {"box": ["5,6,7,8", "1,2,3,4"]}
    assert told("vqa", ["a=b"], NONE) == ("a=b", NONE)
    assert told("vqa", ["confidence=0.5"], NONE) == ("confidence=0.5", NONE)


def test_two_of_one_are_refused():
    with pytest.raises(InputError, match="--target question=b: question is given twice"):
        told("vqa", ["question=b"], NONE | {"question": "a"})
    with pytest.raises(InputError, match="--target a b: this task takes one"):
        told("vqa", ["a", "b"], NONE)
    with pytest.raises(InputError, match="--question b is for --adapter vqa or vqa-words, and the"):
        told("detection", ["question=b"], NONE)
