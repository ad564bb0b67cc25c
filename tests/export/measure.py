"""How much the explainer costs over the bare model:
python tests/export/measure.py resnet50 layer4 [...]

Both files run in ONNX Runtime on the CPU with the same options, batch 1, interleaved; the figure is
the ratio of the medians of CPU time, since the machine may be shared.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import onnxruntime
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parent))

from programs import Bound, CamProgram, channels_last, keep, randomise, tokens

from camport.export import to_onnx

RESHAPES = {"vit_b_16": tokens, "swin_t": channels_last, "swin_v2_t": channels_last}


def model_of(name: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = randomise(getattr(torchvision.models, name)(weights=None, **options))
    for parameter in model.parameters():
        if parameter.dim() == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def seconds(run: onnxruntime.InferenceSession, feed: dict) -> float:
    start = time.process_time()
    run.run(None, feed)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+", help="model:layer")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument(
        "--keep", type=Path, help="folder for the files, which are made only where missing"
    )
    arguments = parser.parse_args()
    print(f"{'model':20} {'layer':40} ratio  bare/ms  MB/MB  nodes  export/s", flush=True)
    for item in arguments.names:
        name, _, layer = item.partition(":")
        images = torch.randn(2, 3, arguments.size, arguments.size)
        with tempfile.TemporaryDirectory() as scratch:
            folder = arguments.keep or Path(scratch)
            bare, explained = folder / f"{name}.onnx", folder / f"{name}-{layer}.onnx"
            model = model_of(name)
            if not bare.exists():
                torch.onnx.export(
                    model,
                    (images,),
                    str(bare),
                    dynamo=True,
                    verbose=False,
                    external_data=False,
                    dynamic_shapes=({0: torch.export.Dim("b")},),
                    opset_version=20,
                    input_names=["images"],
                )
            report = None
            if not explained.exists():
                program = CamProgram(model, layer, RESHAPES.get(name, keep))
                report = to_onnx(Bound(program), explained, images)
            feed = program_feed(images)
            runs = {
                "bare": session(bare, arguments.threads),
                "explained": session(explained, arguments.threads),
            }
            feeds = {"bare": {"images": feed["images"]}, "explained": feed}
            times: dict[str, list[float]] = {key: [] for key in runs}
            for round_ in range(arguments.runs + 3):
                for key in runs:
                    spent = seconds(runs[key], feeds[key])
                    if round_ >= 3:
                        times[key].append(spent)
            median = {key: statistics.median(values) for key, values in times.items()}
            sizes = explained.stat().st_size / bare.stat().st_size
            tail = f"{report.nodes:6d} {report.seconds:9.1f}" if report else ""
            print(
                f"{name:20} {layer:40} {median['explained'] / median['bare']:5.3f}"
                f" {median['bare'] * 1e3:8.1f} {sizes:6.3f} {tail}",
                flush=True,
            )


def program_feed(images: torch.Tensor) -> dict:
    import numpy

    return {"images": images[:1].numpy(), "target": numpy.array([-1])}


if __name__ == "__main__":
    main()
