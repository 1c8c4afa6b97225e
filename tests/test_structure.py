"""What may import what: the parts stay apart, no circles, and what stays free of torch, gradio and SQL."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("annotation", "emotion_omni")
PARTS = ("recognition", "response", "synthesis")
TORCH_FREE = (
    "emotion_omni.types",
    "emotion_omni.audio",
    "emotion_omni.emotion",
    "emotion_omni.engine",
    "emotion_omni.cascade.presets",
    "app",
    *sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "annotation").rglob("*.py")
        if path.name != "__main__.py"
    ),
)


@cache
def modules() -> dict[str, Path]:
    """Our modules by name."""
    files = [ROOT / "app.py", *(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in names.items()}


@cache
def imports(name: str, lazy: bool = True) -> frozenset[str]:
    """All that a module imports, by full name. ``lazy``: also inside functions."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree) if lazy else _at_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} uses a relative import"
            base = node.module or ""
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules() else base for alias in node.names}
    return frozenset(found)


def _at_import(tree: ast.Module):
    """The nodes that run when the module is imported: not those inside functions, nor under TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def test_this_file_sees_imports_inside_functions():
    assert "emotion_omni.omni.engine" in imports("emotion_omni.engine")
    assert "emotion_omni.omni.engine" not in imports("emotion_omni.engine", lazy=False)
    assert len(modules()) > 100


@pytest.mark.parametrize("part", PARTS)
def test_the_parts_know_neither_each_other_nor_what_is_made_of_them(part):
    others = [f"emotion_omni.{other}" for other in (*PARTS, "cascade", "omni", "train", "evaluate") if other != part]
    wrong = {
        (name, imported)
        for name in modules()
        if within(name, f"emotion_omni.{part}")
        for imported in imports(name)
        if within(imported, *others)
    }
    assert not wrong


def test_the_cascade_and_the_root_know_neither_training_nor_evaluation():
    wrong = {
        (name, imported)
        for name in modules()
        if within(name, "emotion_omni.cascade", "emotion_omni.engine", "emotion_omni.omni")
        for imported in imports(name)
        if within(imported, "emotion_omni.train", "emotion_omni.evaluate")
    }
    assert not wrong


def test_the_models_do_not_know_the_studio():
    assert not {
        name
        for name in modules()
        if within(name, "emotion_omni") and any(within(imported, "annotation", "app") for imported in imports(name))
    }


def test_gradio_is_in_the_page_alone():
    using = {name for name in modules() if any(within(imported, "gradio") for imported in imports(name))}
    assert {name for name in using if not within(name, "app", "annotation.ui")} == set()


def test_sql_is_in_the_store_alone():
    using = {
        name
        for name in modules()
        if any(within(imported, "sqlalchemy", "sqlite3", "psycopg") for imported in imports(name))
    }
    assert {name for name in using if not within(name, "annotation.store")} == set()


def test_no_module_is_mistaken_for_one_of_the_standard_library():
    ours = {name for name in modules() if name.rpartition(".")[2] in sys.stdlib_module_names}
    both = {
        (name, other)
        for name in modules()
        for other in ours & imports(name)
        if other.rpartition(".")[2] in imports(name)
    }
    # it stands in for modules of a foreign package, for which there is no other name than types.ModuleType
    assert both <= {("emotion_omni.synthesis.cosyvoice2_networks", "emotion_omni.types")}


def test_no_circles():
    """Not even lazy ones: Tarjan's strongly connected components of all imports."""
    graph = {name: {other for other in imports(name) if other in modules() and other != name} for name in modules()}
    assert circles(graph) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def at_import(name: str) -> set[str]:
    """All that importing a module imports in turn, our packages' own ``__init__`` files included."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        parents = [current.rsplit(".", count)[0] for count in range(1, current.count(".") + 1)]
        for module in {current, *parents} - seen:
            seen.add(module)
            if module in modules():
                waiting.extend(imports(module, lazy=False))
    return seen


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_is_not_imported_by_what_a_page_needs(name):
    heavy = {other for other in at_import(name) if within(other, "torch", "transformers", "ctranslate2")}
    assert not heavy


def test_python_agrees_that_torch_is_not_imported():
    code = "import sys, emotion_omni.engine, emotion_omni.audio, annotation.studio; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_nothing_outside_evaluation_uses_its_judges():
    """Nor the critic. They judge models and data; were they trained on, filtered or chosen by them, they could not."""
    judge = tuple(
        f"emotion_omni.evaluate.{name}" for name in ("functionals_recognizer", "acoustic_functionals", "critic")
    )
    assert set(judge) <= set(modules())
    assert {name for name in modules() if imports(name) & set(judge)} <= {
        name for name in modules() if within(name, "emotion_omni.evaluate")
    }
    makers = [f"emotion_omni.{part}" for part in (*PARTS, "cascade", "omni", "train", "engine")]
    reaching = {name for name in modules() if within(name, *makers, "annotation") and reached_from(name) & set(judge)}
    assert not reaching


def reached_from(name: str) -> set[str]:
    """All that a module imports in turn, inside functions too."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        for other in imports(waiting.pop()) - seen:
            seen.add(other)
            if other in modules():
                waiting.append(other)
    return seen
