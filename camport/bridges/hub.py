"""Hugging Face Hub: an explained .onnx file with its card, pushed and loaded."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from camport.bridges.hub_card import card
from camport.bridges.packages import package
from camport.runtime import Explainer, load

NAME = "model.onnx"


def push(
    file: str | Path, repo: str, *, licence: str | None = None, api: Any = None, **options: Any
) -> Any:
    """Uploads an exported .onnx file, as `model.onnx`, with its card;
    what `HfApi.upload_folder` gives comes back.

    Args:
        file: made by `camport.export.to_onnx`.
        repo: OWNER/NAME, made where it is not there.
        licence: of the model, by the Hub's name of it.
        api: a `huggingface_hub.HfApi`; None makes one, which has the token of the user's login.
        options: of `upload_folder`: `commit_message`, `revision`, ...
    """
    api = package("huggingface_hub", "huggingface_hub").HfApi() if api is None else api
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "README.md").write_text(card(file, repo, licence), "utf-8")
        shutil.copyfile(file, Path(folder, NAME))
        api.create_repo(repo, exist_ok=True)
        return api.upload_folder(repo_id=repo, folder_path=folder, **options)


def download(repo: str, **options: Any) -> Explainer:
    """The explainer of a repository that `push` made; options of
    `huggingface_hub.hf_hub_download`."""
    return load(
        package("huggingface_hub", "huggingface_hub").hf_hub_download(repo, NAME, **options)
    )
