"""The shape of the package, read from its source: who may import whom, public names, sizes,
and what is committed."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "camport"
MODULES = {
    ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p
    for p in PACKAGE.rglob("*.py")
}
LARGEST = 350

# room -> (rooms it may import, packages it may import at the top of a module); from the ground up:
# design.md's arrows
STANDARD = {"numpy", "PIL"}
TORCH = {"torch", "jaxtyping"}
ONNX = {"onnx", "onnxscript", "onnx_ir", "onnxruntime"}
CORE = {"core", "core.running", "core.isolation", "core.maps"}
BELOW = {"errors"} | CORE
ROOMS = {
    "version": (set(), set()),
    "errors": (set(), set()),
    "late": ({"errors"}, set()),
    "files": ({"errors"}, set()),
    "view": ({"errors", "files"}, STANDARD),
    "targets": ({"errors"}, {"numpy"}),
    "runtime": ({"errors", "targets", "view"}, STANDARD),
    "core.maps": ({"errors"}, TORCH | {"numpy"}),
    "core.isolation": ({"core.maps", "errors"}, TORCH | {"numpy"}),
    "core.running": ({"core.isolation", "core.maps", "errors"}, TORCH),
    "core": (
        {
            "core.isolation",
            "core.maps",
            "core.running",
            "errors",
            "late",
            "targets",
            "version",
            "view",
        },
        TORCH | {"pluggy", "numpy"},
    ),
    "plugins": (BELOW, TORCH),
    "adapters": (BELOW | {"late", "targets"}, TORCH),
    "metrics": (BELOW, TORCH | {"numpy"}),
    # what all of export shares, its stages in the order of their work, its door
    "export.private_torch": (set(), TORCH),
    "export.failure_location": ({"core", "errors"}, TORCH),
    "export.stages": ({"export.failure_location"}, TORCH),
    "export.graph": (set(), TORCH),
    "export.operators": (set(), TORCH | {"numpy"}),
    "export.quiet": ({"errors"}, set()),
    "export.atomic_file": ({"errors", "files"}, set()),
    "export.report": ({"export.stages"}, set()),
    "export.traceable": ({"core"}, set()),
    "export.output_selection": ({"errors", "export.traceable"}, TORCH),
    "export.capture": (
        {
            "export.private_torch",
            "core.maps",
            "errors",
            "export.failure_location",
            "export.graph",
            "export.operators",
        },
        TORCH,
    ),
    "export.preflight": (
        {
            "export.private_torch",
            "core",
            "core.maps",
            "errors",
            "export.capture",
            "export.failure_location",
            "export.traceable",
        },
        TORCH,
    ),
    "export.passes": (
        {
            "errors",
            "export.failure_location",
            "export.graph",
            "export.private_torch",
            "export.stages",
        },
        TORCH,
    ),
    "export.rules": ({"errors", "export.operators"}, TORCH),
    "export.lower": (
        {
            "errors",
            "export.capture",
            "export.failure_location",
            "export.graph",
            "export.passes",
            "export.rules",
        }
        | {"export.stages"},
        TORCH,
    ),
    "export.proof": (
        {"export.private_torch", "errors", "export.capture", "export.report"},
        TORCH | {"numpy"},
    ),
    "export.rewrite": (
        {
            "export.private_torch",
            "errors",
            "export.capture",
            "export.graph",
            "export.operators",
            "export.traceable",
        },
        TORCH,
    ),
    "export.file_format": ({"export.capture", "export.report", "export.traceable"}, TORCH),
    "export.pipeline": (
        {
            "core.maps",
            "core.running",
            "errors",
            "export.atomic_file",
            "export.capture",
            "export.file_format",
        }
        | {
            "export.graph",
            "export.lower",
            "export.output_selection",
            "export.preflight",
            "export.proof",
        }
        | {"export.quiet", "export.report", "export.rewrite", "export.stages", "export.traceable"},
        TORCH,
    ),
    "export.onnx_file": (
        {
            "export.private_torch",
            "errors",
            "runtime",
            "export.atomic_file",
            "export.capture",
            "export.failure_location",
            "export.file_format",
        }
        | {
            "export.graph",
            "export.operators",
            "export.proof",
            "export.quiet",
            "export.report",
            "export.rewrite",
        }
        | {"export.rules", "export.stages", "export.traceable"},
        TORCH | ONNX | {"numpy"},
    ),
    "export.writing": (
        {
            "errors",
            "runtime",
            "export.capture",
            "export.file_format",
            "export.graph",
            "export.onnx_file",
        }
        | {
            "export.output_selection",
            "export.pipeline",
            "export.quiet",
            "export.report",
            "export.rewrite",
        }
        | {"export.rules", "export.stages", "export.traceable"},
        TORCH,
    ),
    "export": ({"late"}, set()),
    "testing": (BELOW | {"export", "export.writing"}, TORCH | {"numpy"}),
    "demo": (BELOW | {"adapters", "runtime"}, TORCH | STANDARD),
    "models": (BELOW | {"demo", "late", "runtime"}, TORCH | STANDARD),
    "binding": (CORE | {"models"}, TORCH),
    "comparison": (CORE | {"binding", "errors", "view"}, TORCH | STANDARD),
    "training": (BELOW | {"metrics", "plugins"}, TORCH | {"torchvision"}),
    # camport itself: names that arrive when they are first used
    "": ({"core", "errors", "late", "targets", "version"}, set()),
    # applications
    "evaluation": (BELOW | {"demo", "files", "runtime", "view"}, TORCH | STANDARD),
    "bench": (
        BELOW | {"", "evaluation", "export", "export.onnx_file", "files", "models", "plugins"},
        TORCH | {"pytest"},
    ),
    "show": (
        BELOW | {"", "adapters", "demo", "export", "metrics", "models", "runtime", "view"},
        TORCH | STANDARD,
    ),
    "web": ({"errors", "files"}, set()),
    "cli": (
        {
            "",
            "adapters",
            "bench",
            "demo",
            "errors",
            "evaluation",
            "export",
            "files",
            "metrics",
            "models",
        }
        | CORE
        | {
            "plugins",
            "runtime",
            "show",
            "targets",
            "version",
            "view",
            "web",
            "export.atomic_file",
            "export.stages",
        },
        STANDARD | {"typer", "rich"},
    ),
    "bridges": (BELOW | {"", "adapters", "late", "runtime"}, TORCH | STANDARD),
    "compat": (BELOW | {"", "late", "plugins", "view"}, TORCH | STANDARD),
    "__main__": ({"cli"}, set()),
}
LIGHT = {"core": ROOMS["core"][0] - {"view"}, "binding": CORE}
LIGHT["cli"] = {"errors", "files", "runtime", "targets", "view"}
"""What these rooms import at the top of a module, so that their own import stays cheap;
the rest in functions."""


@cache
def imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a module imports when it is imported, and what it imports later;
    under TYPE_CHECKING counts as neither."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    top: set[str] = set()
    late: set[str] = set()

    def visit(node: ast.AST, found: set[str]) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                visit(child, found)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else str(node.module))
        for child in ast.iter_child_nodes(node):
            visit(
                child, late if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else found
            )

    visit(tree, top)
    return frozenset(top), frozenset(late - top)


def room(module: str) -> str:
    """camport.core.probe -> core, camport.core.maps.noise -> core.maps;
    camport itself is the room ""."""
    parts = module.split(".")[1:]
    within = ".".join(parts[:2])
    return within if within in ROOMS else [*parts, ""][0]


def wrong_arrows(module: str) -> list[str]:
    """What a module imports and may not."""
    here, (top, late) = room(module), imports(module)
    if here not in ROOMS:
        return [f"{here} is a new room; give it its arrows here"]
    rooms, packages = ROOMS[here]
    wrong = []
    for name in sorted(top | late):
        package = name.split(".")[0]
        if package == "camport":
            known = LIGHT.get(here, rooms) if name in top else rooms
            if room(name) not in known | {here}:
                wrong.append(
                    f"{module} imports {name}" + (" at its top" if room(name) in rooms else "")
                )
        elif name in top and package not in sys.stdlib_module_names | packages:
            wrong.append(f"{module} imports {name} at its top")
    return wrong


def test_no_arrow_runs_back_up():
    order = list(ROOMS)
    assert not [
        (here, there)
        for here in order
        for there in ROOMS[here][0]
        if order.index(there) >= order.index(here)
    ]


def test_arrows_point_one_way():
    assert not [wrong for module in sorted(MODULES) for wrong in wrong_arrows(module)]


def test_the_markers_import_pluggy_alone():
    assert imports("camport.core.markers") == (frozenset({"pluggy"}), frozenset())


def test_the_command_line_prints_in_one_place():
    """Text out of files is escaped there (camport.cli.printing)."""
    found = []
    for module in MODULES:
        if room(module) == "cli" and module != "camport.cli.printing":
            for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "print",
                    "typer.echo",
                    "click.echo",
                ):
                    found.append(f"{module}:{node.lineno}")
    assert not found, "use camport.cli.printing.say"


def test_one_recorder_hooks_modules():
    """What runs in a forward pass is seen by camport.core.running.recorder,
    which takes its hooks off again."""
    hooks = {"register_forward_hook", "register_forward_pre_hook", "hook", "pre_hook"}
    found = {
        module
        for module in MODULES
        # which stand where a user does
        if not module.startswith(("camport.compat.", "camport.testing."))
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in hooks
    }
    assert found == {"camport.core.running.recorder", "camport.core.isolation.private_copy"}


def test_no_cycles():
    """Over imports at the top of modules and in functions;
    a room's __init__ counts where it is named."""
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for name in frozenset.union(*imports(module)):
            if name in MODULES:
                walk(name, (*path, module))
        done.add(module)

    for module in MODULES:
        walk(module, ())


@pytest.mark.parametrize("here", ["export.operators", "export.rules", "export.passes"])
def test_no_file_of_a_room_is_forgotten_by_it(here):
    """A rule, a form or a pass is found where its file is imported with its room."""
    found, ahead = set(), [f"camport.{here}"]
    while ahead:
        module = ahead.pop()
        if module in MODULES and module not in found:
            found.add(module)
            ahead.extend(imports(module)[0])
    assert {module for module in MODULES if room(module) == here} - found == set()


def test_size_and_docstring():
    sources = {module: path.read_text(encoding="utf-8") for module, path in MODULES.items()}
    sizes = {module: source.count("\n") for module, source in sources.items()}
    large = {module: lines for module, lines in sizes.items() if lines > LARGEST}
    assert not large, f"more than one concept: {large}"
    silent = [
        module for module, source in sources.items() if not ast.get_docstring(ast.parse(source))
    ]
    assert not silent, f"do not say what they are: {silent}"


def test_one_method_a_file():
    wrong = {}
    for path in (PACKAGE / "plugins").glob("*.py"):
        classes = [
            n
            for n in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(n, ast.ClassDef)
        ]
        explainers = [
            c.name for c in classes if any("Explainer" in ast.dump(base) for base in c.bases)
        ]
        if len(explainers) != (0 if path.name == "__init__.py" else 1):
            wrong[path.name] = explainers
    assert not wrong


def test_public_names_resolve():
    import camport

    assert len(camport.__all__) == len(set(camport.__all__))
    for name in camport.__all__:
        assert getattr(camport, name) is not None
    assert set(dir(camport)) >= set(camport.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        camport.nothing  # noqa: B018


GATHERING = (
    *(
        "export",
        "runtime",
        "view",
        "testing",
        "training",
        "plugins",
        "adapters",
        "metrics",
        "models",
        "cli",
        "errors",
    ),
)


NAMELESS = ("cli", "runtime")
"""Rooms that take any task, and so name none."""


def test_no_task_is_named_where_any_is_taken():
    """By the name of an adapter, or by its stem; FunctionAdapter's is Python's own word."""
    import camport

    endings = r"(ation|ion|ing|ity|-words)$"
    stems = {re.sub(endings, "", name) for name in camport.adapters()} - {"funct"}
    assert {"detect", "caption", "vqa", "segment", "classific"} <= stems
    ends = "((ation|ion|ing|ity|or|er)s?)?"  # the captions of a figure are no task
    named = re.compile(rf"(?<![a-z])({'|'.join(stems)}){ends}(?![a-z])", re.IGNORECASE)
    for wrong in ("is_detection", "segmenter", "captioners", "vqa-words", "similarity"):
        assert named.search(wrong)
    found = []
    for module, path in MODULES.items():
        if room(module) in NAMELESS:
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [
                f"{module}:{i}: {line.strip()}"
                for i, line in enumerate(lines, 1)
                if named.search(line)
            ]
    assert not found


def test_every_room_gathers_its_names():
    for name in GATHERING:
        module = importlib.import_module(f"camport.{name}")
        missing = [
            public
            for public in getattr(module, "__all__", [])
            if getattr(module, public, None) is None
        ]
        assert not missing, f"camport.{name}: {missing}"
        assert [n for n in vars(module) if not n.startswith("_")], name


def test_the_contracts_names():
    """Those of the contract that this release has."""
    import camport
    from camport import export, runtime, testing

    for name in (
        "methods",
        "adapters",
        "bind",
        "explain",
        "hookimpl",
        "Explainer",
        "Adapter",
        "Explanation",
    ):
        assert callable(getattr(camport, name)), name
    assert callable(export.to_onnx)
    assert callable(runtime.load)
    assert callable(testing.check_explainer)
    assert callable(testing.check_adapter)
    for name in (
        "export",
        "runtime",
        "view",
        "metrics",
        "testing",
        "models",
        "plugins",
        "training",
    ):
        # lazily, after `import camport`
        assert camport.__getattr__(name) is importlib.import_module(f"camport.{name}")


PRIVATE = re.compile(r"torch(\.\w+)*\.(_\w+|experimental)")


def private_names(source: str) -> set[str]:
    """The private modules and members of PyTorch that a source names;
    an operator's name may begin with _."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
    return {name for name in names if PRIVATE.match(name) and not name.startswith("torch.ops.")}


def test_one_file_of_export_holds_pytorchs_private_entry_points():
    found = {
        module: private_names(path.read_text(encoding="utf-8")) for module, path in MODULES.items()
    }
    held = {
        module for module, names in found.items() if names and module.startswith("camport.export")
    }
    assert held == {"camport.export.private_torch"}


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import torch._dynamo.config", {"torch._dynamo.config"}),
        (
            "def f():\n    from torch.fx.experimental.proxy_tensor import make_fx",
            {"torch.fx.experimental.proxy_tensor.make_fx"},
        ),
        ("from torch import _C", {"torch._C"}),
        ("torch._C._get()", {"torch._C", "torch._C._get"}),
        ("torch.ops.aten._softmax.default; torch.fx.Graph; x._schema; 'torch._export'", set()),
    ],
)
def test_a_private_name_is_seen(source, named):
    assert private_names(source) == named


def test_each_stage_of_an_export_is_a_folder_or_a_file():
    """Of that name, or with that word in its name."""
    names, export = set(), PACKAGE / "export"
    for path in export.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("stage", "run_passes"):
                names |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            if isinstance(node, ast.ClassDef) and "Step" in map(ast.unparse, node.bases):
                (name,) = (
                    n.value
                    for n in node.body
                    if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "name"
                )
                assert path.stem == str(ast.literal_eval(name)).replace(" ", "_")
    assert len(names) > 5
    places = {path.stem for path in export.iterdir()}
    assert [name for name in names if not places & set(str(name).split())] == []


def committed() -> list[Path]:
    """The files under version control; in an unpacked source distribution all files."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout
        return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        return [
            p for p in ROOT.rglob("*") if p.is_file() and not {".git", "__pycache__"} & set(p.parts)
        ]


# spelt so that this file does not contain what it looks for
MACHINE = re.compile(r"(?<![\w./-])/(?:ro" r"ot|wo" r"rk|o" r"pt)/(?=\w)")
INDEX = re.compile(
    r"--(?:extra-)?ind"
    r"ex-url|ind"
    r"ex-url\s*=|pypi\.o"
    r"rg/simple|download\.pyt"
    r"orch\.org/whl"
)


def test_nothing_of_this_machine_is_committed():
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for what, pattern in (("this machine's paths", MACHINE), ("a package index", INDEX)):
            found += [
                f"{path.relative_to(ROOT)}: {what}: {hit.group()}" for hit in pattern.finditer(text)
            ]
    assert not found


def test_no_lock_file_is_committed():
    names = {path.name for path in committed()}
    assert not names & {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock"}
