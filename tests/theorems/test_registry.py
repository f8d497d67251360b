"""The registry can be read without any numerical library, finds what it is asked for, and cites it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from eqtheory.errors import EqTheoryError, UnknownTheoremError
from eqtheory.theorems import (
    BIBLIOGRAPHY,
    CONTROLS,
    THEOREMS,
    Control,
    Source,
    Theorem,
    bibtex,
    control,
    theorem,
)


def test_reading_the_registry_loads_no_numerical_library() -> None:
    code = (
        "import sys; from eqtheory.theorems import THEOREMS, bibtex; [bibtex(t.id) for t in THEOREMS]; "
        "print(*[m for m in ('torch', 'numpy', 'scipy', 'sympy', 'mpmath', 'hypothesis') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


@pytest.mark.parametrize("entry", THEOREMS, ids=lambda t: t.id)
@pytest.mark.parametrize("form", [lambda t: t.id, lambda t: t.id.lower(), lambda t: t.slug, lambda t: t.slug.upper()])
def test_a_theorem_is_found_by_id_and_slug_in_any_case(entry: Theorem, form: object) -> None:
    assert theorem(form(entry)) is entry  # type: ignore[operator]


@pytest.mark.parametrize("entry", CONTROLS, ids=lambda c: c.id)
def test_a_control_is_found_by_id_and_slug_in_any_case(entry: Control) -> None:
    for name in (entry.id, entry.id.lower(), entry.slug, entry.slug.upper()):
        assert control(name) is entry


@pytest.mark.parametrize("name", ["T99", "", "N1", "T", "suff", "T3 "])
def test_an_unknown_theorem_is_refused_with_the_known_ones(name: str) -> None:
    for ask in (theorem, bibtex):
        with pytest.raises(UnknownTheoremError) as caught:
            ask(name)
        assert str(caught.value).startswith(f"theorem: got {name!r}, needed one of T1, T2, T3, T3a, T3b, ")
        assert str(caught.value).endswith("; pass an id or a slug")
        assert isinstance(caught.value, KeyError)


def test_an_unknown_control_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EqTheoryError) as caught:
        control("T1")
    known = ", ".join(c.id for c in CONTROLS)
    assert known.startswith("N1, N2, N3, N4, N5, ")
    assert str(caught.value) == f"control: got 'T1', needed one of {known}; pass an id or a slug"


def test_names_are_unique() -> None:
    for entries in (THEOREMS, CONTROLS):
        names = Counter(name for entry in entries for name in (entry.id.casefold(), entry.slug))
        assert max(names.values()) == 1
    assert not {t.slug for t in THEOREMS} & {c.slug for c in CONTROLS}


@pytest.mark.parametrize("entry", THEOREMS, ids=lambda t: t.id)
def test_a_theorem_is_complete(entry: Theorem) -> None:
    for text in (entry.title, entry.conclusion, entry.credit, entry.proof, entry.sharp):
        assert text.strip() == text != ""
    assert entry.hypotheses
    assert entry.inequalities
    assert entry.constructions
    names = [i.name for i in entry.inequalities]
    assert len(set(names)) == len(names)
    assert entry.check == f"proofs_check/test_{entry.slug.replace('-', '_')}.py"
    assert set(entry.references) <= set(BIBLIOGRAPHY)


def test_hypotheses_and_controls_point_at_each_other() -> None:
    guarded = {(t.id, h.control) for t in THEOREMS for h in t.hypotheses if h.control}
    listed = {(name, c.id) for c in CONTROLS for name in c.theorems}
    assert guarded == listed
    assert {name for name, _ in listed} <= {t.id for t in THEOREMS}
    assert {c.id for c in CONTROLS} == {identifier for _, identifier in guarded}


def test_credit_names_the_paper_where_the_source_is_the_paper() -> None:
    for entry in THEOREMS:
        if entry.source is Source.PAPER:
            assert "arXiv 2510.03638" in entry.credit
        if entry.source is Source.HERE:
            assert "his project" in entry.credit


# BibTeX.


def parse(entry: str) -> tuple[str, str, dict[str, str]]:
    """Kind, key and fields of one BibTeX entry; raises on anything malformed."""
    depth = 0
    for character in entry:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            raise ValueError("a brace closes too early")
    if depth:
        raise ValueError("braces are not balanced")
    kind, rest = entry.removeprefix("@").split("{", 1)
    key, body = rest.removesuffix("}").split(",", 1)
    fields = {}
    for line in body.strip().splitlines():
        name, _, value = line.strip().rstrip(",").partition(" = ")
        if not (value.startswith("{") and value.endswith("}")):
            raise ValueError(f"field {name!r} is not in braces")
        fields[name] = value[1:-1]
    return kind, key, fields


REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "book": {"author", "title", "publisher", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "software": {"author", "title", "year"},
}


def problems_of(text: str) -> list[str]:
    found = []
    for entry in text.split("\n\n"):
        try:
            kind, key, fields = parse(entry)
        except ValueError as error:
            found.append(str(error))
            continue
        missing = REQUIRED[kind] - {name for name, value in fields.items() if value.strip()}
        found += [f"{key} lacks {name}" for name in sorted(missing)]
        found += [f"{key}: year {fields['year']}" for _ in range(1) if not fields.get("year", "").isdigit()]
    return found


@pytest.mark.parametrize("entry", THEOREMS, ids=lambda t: t.id)
def test_citations_are_well_formed_and_name_the_theorem(entry: Theorem) -> None:
    text = bibtex(entry.slug)
    assert problems_of(text) == []
    keys = [parse(part)[1] for part in text.split("\n\n")]
    assert keys == ["eqtheory", *entry.references]
    assert f"note = {{Theorem {entry.id}: {entry.title}}}" in text
    assert "%s" not in text


def test_every_work_of_the_bibliography_is_cited_and_keyed_by_its_own_key() -> None:
    assert {key for t in THEOREMS for key in t.references} == set(BIBLIOGRAPHY) - {"eqtheory"}
    assert [parse(entry)[1] for entry in BIBLIOGRAPHY.values()] == list(BIBLIOGRAPHY)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda s: s.replace("{SIAM}", "{SIAM"), "braces are not balanced"),
        (lambda s: s.replace("{SIAM}", "SIAM}{"), "field 'publisher' is not in braces"),
        (lambda s: s.replace("title =", "titel ="), "higham2002 lacks title"),
        (lambda s: s.replace("{2002}", "{MMII}"), "higham2002: year MMII"),
        (lambda s: "}" + s, "a brace closes too early"),
    ],
)
def test_a_malformed_entry_would_be_seen(damage: object, problem: str) -> None:
    assert problems_of(BIBLIOGRAPHY["higham2002"]) == []
    assert problem in problems_of(damage(BIBLIOGRAPHY["higham2002"]))  # type: ignore[operator]
