"""The registry and the suite agree in both directions: nothing claimed without a check, no check without a claim."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

from eqtheory.testing.evidence import PARTS
from eqtheory.theorems import BIBLIOGRAPHY, CONTROLS, THEOREMS, Theorem

SUITE = Path(__file__).parent.parent
ROOT = SUITE.parent
IDS = {t.id for t in THEOREMS}


def marks_of(path: Path) -> set[tuple[str, str]]:
    """All `(theorem, part)` pairs that the tests of a file are marked with."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.theorem":
                    theorem = ast.literal_eval(decorator.args[0])
                    part = next(ast.literal_eval(k.value) for k in decorator.keywords if k.arg == "part")
                    found.add((theorem, part))
    return found


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda t: t.id)
def test_every_theorem_has_its_file_with_all_five_parts(theorem: Theorem) -> None:
    path = SUITE / Path(theorem.check).name
    assert path.exists(), f"{theorem.id} names {theorem.check}, which does not exist"
    assert marks_of(path) == {(theorem.id, part) for part in PARTS}


def test_every_file_belongs_to_a_theorem() -> None:
    assert {p.name for p in SUITE.glob("test_*.py")} == {Path(t.check).name for t in THEOREMS}


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda t: t.id)
def test_every_construction_exists(theorem: Theorem) -> None:
    for dotted in theorem.constructions:
        module, name = dotted.rsplit(".", 1)
        assert hasattr(import_module(module), name), f"{theorem.id} licenses {dotted}, which does not exist"


@pytest.mark.parametrize("theorem", THEOREMS, ids=lambda t: t.id)
def test_every_inequality_is_used_by_its_check(theorem: Theorem) -> None:
    texts = (SUITE / Path(theorem.check).name).read_text() + "".join(
        (SUITE / shared).read_text() for shared in ("relaxations.py", "relaxation_parts.py")
    )
    for inequality in theorem.inequalities:
        assert re.search(rf"\b{inequality.name}\b", texts), f"{theorem.id} never compares {inequality.name}"


def recorded_controls(path: Path) -> set[str]:
    """Controls that the tests of a file record, themselves or through the functions of `controls.py` they call."""

    def recorded_in(tree: ast.AST) -> set[str]:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        return {ast.literal_eval(c.args[0]) for c in calls if ast.unparse(c.func) == "evidence.control"}

    shared = ast.parse((SUITE / "controls.py").read_text())
    by_function = {node.name: recorded_in(node) for node in shared.body if isinstance(node, ast.FunctionDef)}
    tree = ast.parse(path.read_text())
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "controls"
    }
    return recorded_in(tree).union(*(by_function[name] for name in called))


def test_controls_and_theorems_name_each_other() -> None:
    for control in CONTROLS:
        assert set(control.theorems) <= IDS
    for theorem in THEOREMS:
        named = {hypothesis.control for hypothesis in theorem.hypotheses if hypothesis.control}
        assert named == {control.id for control in CONTROLS if theorem.id in control.theorems}
        assert named <= recorded_controls(SUITE / Path(theorem.check).name), (
            f"{theorem.id} does not observe all of {named}"
        )


def test_identifiers_are_unique_and_references_known() -> None:
    assert len(IDS) == len(THEOREMS)
    assert len({t.slug for t in THEOREMS}) == len(THEOREMS)
    for theorem in THEOREMS:
        assert set(theorem.references) <= set(BIBLIOGRAPHY)
        names = [i.name for i in theorem.inequalities]
        assert len(set(names)) == len(names)
