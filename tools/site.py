"""What MkDocs does to camport's pages beyond Markdown, hooks of mkdocs.yml.

Pages are written to be read in the repository. Here README becomes the first page, the pages beside
it and those of benchmarks/ join, links between them lead to the site's pages, and LaTeX becomes
MathML, which browsers draw by themselves. A page of the reference is one line: its module.
"""

import ast
import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
BESIDE = {
    "README.md": "index.md",
    **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")},
}
"""Pages of the repository's root, and where the site has them."""
REFERENCE = (
    "camport",
    "core",
    "adapters",
    "export",
    "runtime",
    "view",
    "metrics",
    "models",
    "testing",
    "training",
)
LANGUAGES = {
    ".py": "python",
    ".toml": "toml",
    ".html": "html",
    ".js": "javascript",
    ".mjs": "javascript",
    ".json": "json",
    ".cpp": "cpp",
}
"""Of an example's files these are shown."""
LINK = re.compile(r"\[([^\[\]]*|!\[[^\]]*\]\([^)]*\))\]\((?!\w+:)([^)\s#]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```+|~~~+).*?^\1$", re.MULTILINE | re.DOTALL)
MATH = re.compile(
    r"^```math\n(.*?)^```$|\$\$(.+?)\$\$|(?<![\w`$])\$([^$\n`]+)\$(?![\w`])",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that do not lie in docs/, and the reference."""
    for place, uri in BESIDE.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / place)))
    for path in sorted((ROOT / "benchmarks").iterdir()):
        if path.suffix in (".md", ".png", ".jpg"):
            files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    for example in sorted((ROOT / "examples").iterdir()):
        if not example.name.startswith(("_", ".")) and example.suffix in ("", ".py"):
            files.append(
                File.generated(
                    config, site_path(f"examples/{example.name}"), content=listing(example)
                )
            )
    described: dict[str, str] = {}
    for room in REFERENCE:
        files.append(
            File.generated(config, f"reference/{room}.md", content=reference(room, described))
        )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links of the repository as links of the site, and equations as MathML."""
    home = repository_path(page.file.src_uri)

    def leads(match: re.Match[str]) -> str:
        """[text](file) with the file's page in the site; the text alone where it has none,
        as code and tests."""
        text, path, anchor = match[1], match[2], match[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(home), path)) if path else home
        uri = site_path(target)
        found = files.get_file_from_path(uri)
        if found is None:
            return text
        anchor = (
            anchors(found.content_string).get(anchor, anchor) if uri.endswith(".md") else anchor
        )
        path = posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{text}]({path}{anchor})"

    return outside_fences(MATH.sub(mathml, markdown), lambda text: LINK.sub(leads, text))


def repository_path(uri: str) -> str:
    """Where a page of the site lies in the repository."""
    for place, there in BESIDE.items():
        if uri == there:
            return place
    if uri.startswith("examples/"):
        return f"{uri.removesuffix('.md')}/README.md"
    return uri if uri.startswith("benchmarks/") else f"docs/{uri}"


def site_path(path: str) -> str:
    """Where the site has a file of the repository; an example, whatever file of it is meant,
    has one page."""
    if path.startswith("examples/"):
        return f"examples/{path.split('/')[1].removesuffix('.py')}.md"
    return BESIDE.get(path, path.removeprefix("docs/"))


def anchors(markdown: str) -> dict[str, str]:
    """GitHub's anchors of repeated headings, #name-1, as Python-Markdown has them, #name_1."""
    seen: dict[str, int] = {}
    renamed = {}
    for heading in re.findall(r"^#+ (.*)$", outside_fences(markdown, str, code=""), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        if name in seen:
            renamed[f"#{name}-{seen[name]}"] = f"#{name}_{seen[name]}"
        seen[name] = seen.get(name, 0) + 1
    return renamed


def listing(example: Path) -> str:
    """The page of an example: what its README says, and its files."""
    readme = example / "README.md"
    head = readme.read_text(encoding="utf-8") if readme.is_file() else f"# {example.name}\n"
    if example.is_file():
        return f"{head}\n```python\n{example.read_text(encoding='utf-8')}```\n"
    parts = [head]
    for path in sorted(example.rglob("*")):
        if path.suffix in LANGUAGES and not set(path.parts) & {
            "node_modules",
            "__pycache__",
            "build",
            "dist",
        }:
            code = path.read_text(encoding="utf-8")
            parts.append(
                f"## {path.relative_to(example)}\n\n````{LANGUAGES[path.suffix]}\n{code}\n````\n"
            )
    return "\n".join(parts)


def reference(room: str, described: dict[str, str]) -> str:
    """The page of a room: its docstring, and each name that it re-exports, by the alphabet.

    Args:
        described: the room whose page has a name already; the names of this room join.
    """
    folder = ROOT / "camport" / ("" if room == "camport" else room)
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    # __all__, or a table of names
    public = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    here, there = [], []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("camport"):
            continue
        for alias in node.names:
            # a name that begins with _ is the room's own
            if alias.asname == alias.name or (not alias.asname and alias.name in public):
                path = f"{node.module}.{alias.name}"
                (there if path in described else here).append(path)
                described.setdefault(path, room)
    by_name = sorted(here, key=lambda path: path.rpartition(".")[2])
    others = [
        f"[`{path.rpartition('.')[2]}`]({described[path]}.md#{path})" for path in sorted(there)
    ]
    parts = [
        f"# {'camport' if room == 'camport' else f'camport.{room}'}",
        ast.get_docstring(tree) or "",
    ]
    parts += [f"Also {', '.join(others)}."] if others else []
    return "\n\n".join([*parts, *(f"::: {path}" for path in by_name)]) + "\n"


def mathml(match: re.Match[str]) -> str:
    """An equation in a block of its own (```math or $$) or in the line ($)."""
    block = match[1] or match[2]
    return convert((block or match[3]).strip(), display="block" if block else "inline")


def outside_fences(text: str, change: Callable[[str], str], code: str | None = None) -> str:
    """The text, changed where it is no code; `code` stands for each block of it, if given."""
    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence[0] if code is None else code]
        end = fence.end()
    return "".join([*parts, change(text[end:])])
