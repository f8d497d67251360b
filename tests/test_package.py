"""The package as a whole: cheap to import, complete in what it exports, documented, and with examples that run."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import eqtheory

ROOT = Path(eqtheory.__file__).parent


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(dotted(path) for path in ROOT.rglob("*.py"))
PACKAGES = sorted(dotted(path) for path in ROOT.rglob("__init__.py"))
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]


def source_of(name: str) -> Path:
    base = ROOT.parent.joinpath(*name.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


# Importing.

HEAVY = ("torch", "numpy", "scipy", "sympy", "mpmath", "hypothesis", "sklearn", "matplotlib", "pytest")


def loaded_by(statement: str) -> set[str]:
    """Heavy packages that a fresh interpreter holds after one statement."""
    code = f"import sys; {statement}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import eqtheory", "import eqtheory.errors", "from eqtheory import bounds"])
def test_importing_the_package_waits_for_no_library(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_optional_libraries_load_when_used_and_not_before() -> None:
    assert loaded_by("import eqtheory.constructions").isdisjoint({"scipy", "sympy", "hypothesis", "pytest", "sklearn"})
    assert loaded_by("import numpy") == {"numpy"}  # the probe sees what is loaded


# Exports.


def sort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then everything else, each by name."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def offered_by(name: str) -> set[str]:
    """What a module makes public: its own definitions, and for a package what it takes out of its own modules."""
    offered: set[str] = set()
    tree = ast.parse(source_of(name).read_text(encoding="utf-8"))
    guarded = [n for node in tree.body if isinstance(node, ast.If) for n in node.body]
    for node in [*tree.body, *guarded]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            offered.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            offered.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{name}."):
            offered |= {alias.asname or alias.name for alias in node.names}
    return {n for n in offered if not n.startswith(("_", "pytest_"))}  # hooks are found by pytest, not imported


@pytest.mark.parametrize("name", PUBLIC)
def test_exports_are_importable_sorted_and_complete(name: str) -> None:
    module = import_module(name)
    # A folder that only groups private modules exports nothing; anything it offers has to be exported.
    exported = getattr(module, "__all__", [])
    assert [n for n in exported if not hasattr(module, n)] == []
    assert exported == sorted(exported, key=sort_key)
    assert len(exported) == len(set(exported))
    assert offered_by(name) - set(exported) == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_dir_shows_the_exports(name: str) -> None:
    module = import_module(name)
    assert set(getattr(module, "__all__", [])) <= set(dir(module))


def test_the_root_exports_every_room_and_its_version() -> None:
    assert eqtheory.__version__ == "0.1.0"
    for name in eqtheory.__all__:
        value = getattr(eqtheory, name)
        if isinstance(value, ModuleType):
            assert value.__name__ == f"eqtheory.{name}"


@pytest.mark.parametrize("name", ["eqtheory", "eqtheory.testing"])
def test_an_unknown_name_is_an_attribute_error_that_names_it(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'anderson_typo'"):
        import_module(name).anderson_typo  # noqa: B018


# Docstrings.


def arguments_of(signature: inspect.Signature) -> list[str]:
    return [n for n in signature.parameters if n not in {"self", "cls"}]


def section(doc: str, title: str) -> str:
    """Text of one Google section, up to the next line that is not indented."""
    lines = inspect.cleandoc(doc).splitlines()
    if f"{title}:" not in lines:
        return ""
    rest = lines[lines.index(f"{title}:") + 1 :]
    end = next((k for k, line in enumerate(rest) if line and not line.startswith(" ")), len(rest))
    return "\n".join(rest[:end])


def function_gaps(function: Any, label: str) -> list[str]:
    doc = function.__doc__ or ""
    if not doc.strip():
        return [f"{label}: no docstring"]
    signature = inspect.signature(function)
    arguments = arguments_of(signature)
    described = [line.strip().partition(":")[0] for line in section(doc, "Args").splitlines()]
    gaps = [f"{label}: argument {name} is not described" for name in arguments if name not in described]
    returns = signature.return_annotation not in (inspect.Signature.empty, None, "None")
    # Without arguments one line can say what comes back; with arguments there is a section for it.
    if returns and arguments and not (section(doc, "Returns") or section(doc, "Yields")):
        gaps.append(f"{label}: no Returns section")
    return gaps


def constants_of(cls: type) -> set[str]:
    """Fields that fill in an attribute the base class declares: constants of the class, not arguments."""
    return {name for base in cls.__mro__[1:] for name in getattr(base, "__annotations__", {})}


def class_gaps(cls: type, label: str) -> list[str]:
    doc = vars(cls).get("__doc__") or ""
    if not doc.strip():
        return [f"{label}: no docstring"]
    gaps: list[str] = []
    if "__init__" in vars(cls) and not issubclass(cls, Enum) and not getattr(cls, "_is_protocol", False):
        described = [line.strip().partition(":")[0] for line in section(doc, "Args").splitlines()]
        arguments = [n for n in arguments_of(inspect.signature(cls)) if n not in constants_of(cls) and n[0] != "_"]
        gaps += [f"{label}: argument {name} is not described" for name in arguments if name not in described]
    for name, member in vars(cls).items():
        if name.startswith("_") or name in inspect.get_annotations(cls):  # a field, described under Args
            continue
        if isinstance(member, property):
            gaps += [] if member.__doc__ else [f"{label}.{name}: no docstring"]
        elif isinstance(member, staticmethod | classmethod):
            gaps += function_gaps(member.__func__, f"{label}.{name}")
        elif inspect.isfunction(member):
            gaps += function_gaps(member, f"{label}.{name}")
    return gaps


def gaps_of(value: Any, label: str) -> list[str]:
    if inspect.isclass(value):
        return class_gaps(value, label)
    return function_gaps(value, label) if inspect.isfunction(value) else []


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_says_what_it_takes_and_returns(name: str) -> None:
    module = import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no header"
    gaps = [gap for n in getattr(module, "__all__", []) for gap in gaps_of(getattr(module, n), n)]
    assert gaps == []


def _bare(x: int) -> int:
    return x


def _no_args(x: int) -> int:
    """Do.

    Returns:
        It.
    """
    return x


def _no_returns(x: int) -> int:
    """Do.

    Args:
        x: it.
    """
    return x


def _wrong_name(x: int, y: int) -> None:
    """Do.

    Args:
        x: it.
        z: renamed since.

    Returns:
        Nothing.
    """


class _Undescribed:
    """Thing."""

    def __init__(self, size: int) -> None:
        self.size = size

    def grow(self) -> None: ...


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_bare, ["f: no docstring"]),
        (_no_args, ["f: argument x is not described"]),
        (_no_returns, ["f: no Returns section"]),
        (_wrong_name, ["f: argument y is not described"]),
        (_Undescribed, ["f: argument size is not described", "f.grow: no docstring"]),
    ],
)
def test_the_check_of_docstrings_sees_each_gap(value: Any, expected: list[str]) -> None:
    assert gaps_of(value, "f") == expected


# Examples.


def run_examples(module: ModuleType) -> doctest.TestResults:
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__):
        runner.run(test)
    return doctest.TestResults(runner.failures, runner.tries)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = run_examples(import_module(name))
    assert results.failed == 0, capsys.readouterr().out


def test_a_wrong_example_would_be_seen() -> None:
    planted = ModuleType("planted")
    planted.__doc__ = ">>> 1 + 1\n3\n"
    assert run_examples(planted) == doctest.TestResults(failed=1, attempted=1)


def test_there_are_examples_to_run() -> None:
    with_examples = [name for name in MODULES if ">>> " in source_of(name).read_text(encoding="utf-8")]
    assert len(with_examples) >= 15
