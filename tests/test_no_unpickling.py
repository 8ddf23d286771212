"""Nothing in the package runs code from a user's file: no unpickling, no full YAML loader, no eval."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chromtransfer_plugin

PACKAGE = Path(chromtransfer_plugin.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("pandas", "read_pickle"),
    ("pd", "read_pickle"),
}


def dangers(source: str) -> list[str]:
    """Name what a module does that could run code from a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            found += _dangerous_call(node)
    return found


def _dangerous_call(node: ast.Call) -> list[str]:
    keywords = {word.arg: word.value for word in node.keywords}
    if isinstance(node.func, ast.Name):
        return [node.func.id] if node.func.id in CALLS else []
    if not isinstance(node.func, ast.Attribute):
        return []
    owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
    name = node.func.attr
    if (owner, name) in METHODS:
        return [f"{owner}.{name}"]
    if (owner, name) == ("torch", "load"):
        safe = (
            isinstance(keywords.get("weights_only"), ast.Constant) and keywords["weights_only"].value is True
        )
        return [] if safe else ["torch.load"]
    if name == "load" and "allow_pickle" in keywords:
        forbidden = (
            isinstance(keywords["allow_pickle"], ast.Constant) and keywords["allow_pickle"].value is False
        )
        return [] if forbidden else ["allow_pickle"]
    return []


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_a_module_runs_no_code_from_files(path):
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "yaml.load(text, Loader=yaml.Loader)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_search_sees(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p, weights_only=True)",
        "yaml.safe_load(text)",
        "np.load(p, allow_pickle=False)",
        "np.load(p)",
    ],
)
def test_the_search_lets_safe_calls_pass(source):
    assert not dangers(source)
