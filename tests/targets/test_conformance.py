"""Every target of the catalogue obeys every law."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eqtheory.targets import CATALOGUE, Target

LAWS = (
    "exact_values",
    "evaluation_error",
    "modulus",
    "sandwich",
    "ball_bounds",
    "monotone",
    "never_nan",
    "steep_pairs",
    "samples",
    "batch_mates",
    "gradient",
)


def test_all_laws_are_listed(laws: dict[str, Callable[[Target], None]]) -> None:
    assert set(LAWS) == set(laws)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
def test_law(target: Target, law: str, laws: dict[str, Callable[[Target], None]]) -> None:
    laws[law](target)


def test_catalogue_names_are_unique() -> None:
    names = [target.name for target in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("target", CATALOGUE, ids=lambda t: t.name)
def test_descriptions(target: Target) -> None:
    assert not target.is_globally_lipschitz
    assert target.formula in repr(target)
    assert "\n" not in target.domain + target.remedy
