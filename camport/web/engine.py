"""onnxruntime-web's files that a page needs, out of a folder of its own or out of what npm
brings."""

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from camport.errors import InputError, MissingDependencyError

ENTRIES = ("ort.wasm.min.mjs", "ort.webgpu.min.mjs")
"""What the page imports: the first alone without WebGPU,
which older releases and trimmed folders may lack."""
LOADER = re.compile(rb"ort-wasm-[\w.-]+?\.mjs")
"""What an entry loads by name; the code itself lies beside it, as .wasm."""
PATIENCE = 900
"""Seconds that npm may take to bring 33 MB."""


def from_folder(folder: Path) -> dict[str, bytes]:
    """The files by name, out of onnxruntime-web's package or its folder dist.

    Raises:
        InputError: the folder lacks one that is needed.
    """
    dist = folder / "dist" if (folder / "dist").is_dir() else folder
    return _needed(
        lambda name: (dist / name).read_bytes() if (dist / name).is_file() else None, str(folder)
    )


def from_npm() -> dict[str, bytes]:
    """The same out of the package that `npm pack onnxruntime-web` downloads into a folder that is
    gone afterwards.

    Raises:
        MissingDependencyError: npm is not installed, or could not bring the package.
    """
    remedy = "or name a folder with onnxruntime-web's dist: --runtime FOLDER"
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError(
            f"onnxruntime-web comes from npm, which is not installed: install Node.js, {remedy}"
        )
    with tempfile.TemporaryDirectory(prefix="camport-web-") as folder:
        command = [
            npm,
            "pack",
            "onnxruntime-web@1",
            "--silent",
            "--fetch-retries=1",
            f"--pack-destination={folder}",
        ]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE
            )
            said = done.stderr.strip().splitlines()
        except (OSError, subprocess.TimeoutExpired) as error:
            done, said = None, [str(error)]
        packed = sorted(Path(folder).glob("*.tgz"))
        if done is None or done.returncode or not packed:
            reason = f" ({said[0][:200]})" if said else ""
            raise MissingDependencyError(
                f"npm could not bring onnxruntime-web{reason}: see to the network, {remedy}"
            )
        with tarfile.open(packed[0]) as archive:
            members = {member.name: member for member in archive if member.isfile()}

            def read(name: str) -> bytes | None:
                member = members.get(f"package/dist/{name}")
                stream = archive.extractfile(member) if member else None
                return stream.read() if stream else None

            return _needed(read, packed[0].name)


def _needed(read: Callable[[str], bytes | None], where: str) -> dict[str, bytes]:
    """The entries, and what each of them loads;
    an entry beside the first is left out where it is not whole."""
    found: dict[str, bytes] = {}
    for entry in ENTRIES:
        wanted, part = [entry], {}
        for name in wanted:  # grows while it is walked
            content = read(name)
            if content is None:
                break
            part[name] = content
            if name == entry:
                loaders = sorted({loader.decode() for loader in LOADER.findall(content)})
                wanted += [
                    name for loader in loaders for name in (loader, loader.replace(".mjs", ".wasm"))
                ]
        if len(part) == len(wanted) > 1:
            found |= part
        elif entry == ENTRIES[0]:
            missing = wanted[len(part)] if len(part) < len(wanted) else "the loader that it names"
            raise InputError(
                f"{where} is not onnxruntime-web's dist: it lacks {missing}; "
                "npm install onnxruntime-web brings it, in node_modules/onnxruntime-web/dist"
            )
    return found
