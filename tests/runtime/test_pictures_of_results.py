"""Pictures of what a file gives, without PyTorch; and files that say nothing of their pictures."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport.adapters import FunctionAdapter
from camport.errors import DoubtWarning, FlatMapWarning, InputError
from camport.export import to_onnx
from camport.models import load_model
from camport.runtime import Preprocess, load
from camport.view import overlay


@pytest.fixture(scope="module")
def loaded():
    return load_model("demo:digits")


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((90, 60))


@pytest.fixture(scope="module")
def files(loaded, photo, tmp_path_factory):
    """A file of the loaded model, and one of its bare module."""
    folder = tmp_path_factory.mktemp("files")
    pixels, _ = loaded.preprocess.apply(photo)
    images = torch.from_numpy(pixels)[None]
    for name, model in (("whole", loaded), ("bare", loaded.model)):
        to_onnx(camport.bind(model, "gradcam"), folder / f"{name}.onnx", images)
    return load(folder / "whole.onnx"), load(folder / "bare.onnx")


def test_a_loaded_model_brings_what_is_known_of_it(files, loaded, photo):
    whole, bare = files
    assert whole.preprocess == loaded.preprocess
    assert whole.labels == loaded.labels
    pixels, _ = loaded.preprocess.apply(photo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(whole.preprocess.apply(photo)[0], pixels)
    assert bare.labels is None
    with pytest.warns(DoubtWarning, match="does not say how its network wants its pictures"):
        guess, _ = bare.preprocess.apply(photo)
    resized = np.asarray(photo.resize(guess.shape[:0:-1], Image.Resampling.BILINEAR), np.float32)
    assert np.abs(guess - resized.transpose(2, 0, 1) / 255).max() < 2 / 255


def test_arrays_that_were_prepared_are_no_guess(files):
    _, bare = files
    prepared = np.zeros((3, 8, 8), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bare.preprocess.apply(prepared)[0].shape[0] == 3


def test_what_bind_is_told_is_in_the_file(loaded, photo, tmp_path):
    pixels, _ = loaded.preprocess.apply(photo)
    bound = camport.bind(loaded.model, preprocess=loaded.preprocess, labels=loaded.labels)
    to_onnx(bound, tmp_path / "told.onnx", torch.from_numpy(pixels)[None])
    assert load(tmp_path / "told.onnx").preprocess == loaded.preprocess


def test_overlay_and_save(files, photo, tmp_path):
    whole, _ = files
    pixels, placement = whole.preprocess.apply(photo)
    result = whole(np.stack([pixels, pixels]), target=[1, 2])
    drawn = result.overlay(photo, placement, alpha=0.7, colormap="viridis")
    for picture, heatmap in zip(drawn, result.heatmap, strict=True):
        right = overlay(photo, placement.to_image(heatmap), alpha=0.7, colormap="viridis")
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(right))
    assert drawn[0].size == photo.size
    with Image.open(whole(pixels[None]).save(tmp_path / "one.png", photo, placement)) as saved:
        assert saved.size == photo.size
    assert result.save(tmp_path / "two.png", [photo, photo], [placement, placement]).exists()


def test_pictures_that_do_not_fit_are_refused(files, photo):
    whole, _ = files
    pixels, placement = whole.preprocess.apply(photo)
    result = whole(pixels[None])
    with pytest.raises(InputError, match="2 pictures and 1 placements for 1 heatmaps"):
        result.overlay([photo, photo], placement)
    scores = whole(pixels[None], only=["score"])
    with pytest.raises(InputError, match="no heatmap to draw among the outputs score"):
        scores.overlay(photo, placement)


def test_captions_name_the_class(loaded, photo):
    pixels, _ = loaded.preprocess.apply(photo)
    found = camport.bind(loaded)(torch.from_numpy(pixels)[None], 7)
    assert found.captions() == [f"seven (7), score {float(found.score[0]):.4g}"]


def test_paths_and_pictures_are_told_what_to_do(files, photo, tmp_path):
    whole, _ = files
    with pytest.raises(InputError, match=r"images is a path, 'cat.jpg'; .*apply\(open_image\(path"):
        whole("cat.jpg")
    with pytest.raises(InputError, match=r"images is a picture; .*preprocess.apply\(image\)"):
        whole(photo)


def test_a_flat_map_is_told(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    ).eval()
    with torch.no_grad():
        model[4].weight[2] = -1  # every channel speaks against this class
    x = torch.rand(2, 3, 16, 16)
    to_onnx(camport.bind(model, "gradcam", preprocess={"scale": 1 / 255}), tmp_path / "f.onnx", x)
    explainer = load(tmp_path / "f.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_best = int(explainer(x.numpy()).outputs[0].argmax())
        assert explainer(x.numpy(), target=model_best).heatmap.any()
    with pytest.warns(FlatMapWarning, match=r"f.onnx: the heatmap of row 0, 1 is flat"):
        explainer(x.numpy(), target=2)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_guess_of_other_channels_is_one_too(tmp_path, channels):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(channels, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 3),
    ).eval()
    to_onnx(camport.bind(model), tmp_path / "f.onnx", torch.rand(2, channels, 8, 8))
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, channels), dtype=np.uint8)
    with pytest.warns(DoubtWarning, match="does not say how its network wants"):
        prepared, _ = load(tmp_path / "f.onnx").preprocess.apply(pixels)
    np.testing.assert_allclose(prepared, pixels.transpose(2, 0, 1) / 255, atol=1e-6)


def test_labels_of_any_sequence_and_scores_without_a_class(loaded, photo):
    pixels, _ = loaded.preprocess.apply(photo)
    images = torch.from_numpy(pixels)[None]
    for labels in (np.array(loaded.labels), iter(loaded.labels), list(loaded.labels)):
        found = camport.bind(loaded.model, labels=labels)(images, 7)
        assert found.captions()[0].startswith("seven (7), score ")
    adapter = FunctionAdapter(lambda z: z[:, 1] - z[:, 2])
    found = camport.bind(loaded.model, adapter=adapter, labels=loaded.labels)(images)
    assert "zero" not in found.captions()[0]  # what is explained is no class


@pytest.mark.parametrize("preprocess", ["imagenet", 5, Preprocess])
def test_a_preprocessing_that_is_none_is_refused(loaded, preprocess):
    with pytest.raises(InputError, match=r"give a camport\.runtime\.Preprocess or its fields"):
        camport.bind(loaded.model, preprocess=preprocess)
