"""Where examples come from, and where what is explained lies in the network's input."""

import json

import numpy as np
import pytest
from PIL import Image

from camport.errors import InputError
from camport.evaluation import Example, from_dataset, from_folder, open_data
from camport.evaluation.examples import region_of
from camport.runtime import Preprocess

SQUARE = [2, 3, 6, 3, 6, 8, 2, 8]
BOX = np.array([[20, 10, 60, 30]], np.float32)


def example(**known) -> Example:
    return Example("picture", lambda: Image.new("RGB", (100, 50)), **known)


def mask_of_box() -> np.ndarray:
    mask = np.zeros((50, 100), bool)
    mask[10:30, 20:60] = True
    return mask


@pytest.mark.parametrize("known", [{"boxes": BOX}, {"mask": mask_of_box}])
@pytest.mark.parametrize(
    ("mode", "rows", "columns"),
    [
        ("stretch", (10, 30), (10, 30)),  # 50 x 50: height stays, width is halved
        ("letterbox", (17, 27), (10, 30)),  # half the size, 12 rows of padding above
        ("crop", (10, 30), (0, 35)),  # the middle 50 of 100 columns
    ],
)
def test_region_in_the_networks_input(known, mode, rows, columns):
    modes = {
        "stretch": Preprocess(size=(50, 50)),
        "letterbox": Preprocess(size=(50, 50), fit="letterbox"),
        "crop": Preprocess(size=(50, 50), fit="crop"),
    }
    placement = modes[mode].place((50, 100))
    wanted = np.zeros((50, 50), bool)
    wanted[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(region_of(example(**known), placement), wanted)


def test_no_region_where_nothing_is_said():
    assert region_of(example(), Preprocess(size=(8, 8)).place((50, 100))) is None
    with pytest.raises(
        InputError, match=r"mask of picture is float64 \[50, 100\]; wanted bool \[50, 100\]"
    ):
        region_of(
            example(mask=lambda: mask_of_box().astype(float)),
            Preprocess(size=(8, 8)).place((50, 100)),
        )


def test_photographs_of_the_demo():
    found = open_data("demo:photographs")
    assert len({e.name for e in found}) == len(found) >= 11
    cat = next(e for e in found if e.target == 282)
    assert cat.picture().size == (451, 300)
    assert cat.boxes.tolist() == [[0, 0, 378, 300]]


def test_a_folder_with_and_without_classes(tmp_path):
    for name in ("b.png", "a.jpg", "7/x.png", "tabby/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (9, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    found = from_folder(tmp_path)
    assert [(e.name, e.target) for e in found] == [
        ("a.jpg", None),
        ("b.png", None),
        ("7/x.png", 7),
        ("tabby/y.png", "tabby"),
    ]
    assert found[1].picture().getpixel((0, 0)) == (9, 0, 0)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("demo:cats", "demo:cats is no data; there are demo:scenes and demo:photographs"),
        ("nowhere", "nowhere is no folder; wanted is one of demo:scenes"),
        (".", "holds no image; known suffixes"),
    ],
)
def test_data_that_is_none(spec, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=reason):
        open_data(spec)


def coco(tmp_path, **changes):
    Image.new("RGB", (30, 20)).save(tmp_path / "one.png")
    content = {
        "images": [{"id": 5, "file_name": "one.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": 11,
                "image_id": 5,
                "category_id": 2,
                "bbox": [2, 3, 4, 5],
                "segmentation": [[2, 3, 6, 3, 6, 8, 2, 8]],
            },
            {"id": 12, "image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": []},
            {
                "id": 13,
                "image_id": 5,
                "category_id": 2,
                "bbox": [10, 0, 2, 20],
                "segmentation": {"size": [20, 30], "counts": [200, 40, 360]},  # columns 10 and 11
            },
            {
                "id": 14,
                "image_id": 5,
                "category_id": 1,
                "iscrowd": 1,
                "bbox": [0, 0, 30, 20],
                "segmentation": [],
            },
        ],
        **changes,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    return str(tmp_path / "coco.json")


def test_coco_by_class_and_by_object(tmp_path):
    classes = open_data(coco(tmp_path))
    assert [(e.name, e.target, e.boxes.tolist()) for e in classes] == [
        ("one.png, cat", "cat", [[0, 0, 9, 9]]),
        ("one.png, dog", "dog", [[2, 3, 6, 8], [10, 0, 12, 20]]),
    ]
    objects = open_data(coco(tmp_path), detection=True)
    assert [(e.name, e.target["class_ids"], e.target["boxes"].tolist()) for e in objects] == [
        ("one.png, cat 12", ["cat"], [[0, 0, 9, 9]]),
        ("one.png, dog 11", ["dog"], [[2, 3, 6, 8]]),
        ("one.png, dog 13", ["dog"], [[10, 0, 12, 20]]),
    ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_of_coco_are_polygons_and_run_lengths(tmp_path):
    pytest.importorskip("pycocotools", reason='pip install "camport[oracles]"')
    _, dog = open_data(coco(tmp_path), masks=True)
    mask = dog.mask()
    wanted = np.zeros((20, 30), bool)
    wanted[3:8, 2:6] = True
    wanted[:, 10:12] = True
    np.testing.assert_array_equal(mask, wanted)


@pytest.mark.parametrize(
    "changes", [{"annotations": [{"image_id": 5}]}, {"categories": 3}, {"images": [{"id": 5}]}]
)
def test_a_file_that_is_not_coco(tmp_path, changes):
    with pytest.raises(InputError, match="is no file of COCO's format"):
        open_data(coco(tmp_path, **changes))
    with pytest.raises(InputError, match=r"image two.png of .* is not in"):
        open_data(coco(tmp_path, images=[{"id": 5, "file_name": "two.png"}]))


def test_data_sets_of_pairs_and_of_mappings():
    red = Image.new("RGB", (3, 2), (255, 0, 0))
    pairs = from_dataset([(red, 4), (np.full((2, 3, 3), 7, np.uint8), np.int64(1))])
    assert [e.target for e in pairs] == [4, 1]
    assert pairs[1].picture().getpixel((2, 1)) == (7, 7, 7)
    rows = from_dataset([{"img": red, "fine": "tabby"}, {"img": red}], image="img", label="fine")
    assert [e.target for e in rows] == ["tabby", None]
    with pytest.raises(InputError, match="item 0 of the data set has no 'image'; it has img"):
        from_dataset([{"img": red}])
    with pytest.raises(InputError, match="leave out its transform"):
        from_dataset([(np.zeros((3, 2, 3), np.float32), 1)])[0].picture()
    with pytest.raises(InputError, match="give convert= for boxes and masks"):
        from_dataset([(red, [{"bbox": [0, 0, 1, 1]}])])
