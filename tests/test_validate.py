"""The checks at the entry points pass what is usable, unchanged, and refuse the rest in one line."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.validate import batch_of, inside, open_unit, positive

ONES = torch.ones(4, 2, 3)


@pytest.mark.parametrize(
    ("value", "trailing"),
    [
        (ONES, None),
        (ONES, (2, 3)),
        (ONES, (None, 3)),
        (ONES, (None, None)),
        (ONES[:, 0, 0], ()),
        (ONES[:1].half(), (2, 3)),
        (ONES.bfloat16(), None),
        (torch.tensor([torch.finfo(torch.float64).max, 5e-324], dtype=torch.float64), ()),
    ],
)
def test_usable_batches_come_back_unchanged(value: torch.Tensor, trailing: tuple[int | None, ...] | None) -> None:
    assert batch_of("x", value, trailing=trailing) is value


BAD_BATCHES: list[tuple[Any, tuple[int | None, ...] | None, type[InputError], str]] = [
    ([1.0], None, InputError, "x: got list, needed a torch.Tensor; wrap it in torch.as_tensor(...)"),
    (None, None, InputError, "x: got NoneType, needed a torch.Tensor; wrap it in torch.as_tensor(...)"),
    (torch.ones(3).long(), None, InputError, "x: got dtype torch.int64, needed a floating-point tensor; convert with"),
    (torch.ones(3) > 0, None, InputError, "x: got dtype torch.bool, needed a floating-point tensor"),
    (torch.tensor(1.0), None, ShapeError, "x: got a tensor without axes, needed a batch axis first; use .unsqueeze(0)"),
    (torch.ones(0), None, ShapeError, "x: got an empty batch of shape (0,), needed at least one sample; skip the call"),
    (torch.ones(4, 0), None, ShapeError, "x: got an empty batch of shape (4, 0), needed at least one sample"),
    (ONES, (2, 2), ShapeError, "x: got shape (4, 2, 3), needed (batch, 2, 2); reshape it, batch axis first"),
    (ONES, (None, 2), ShapeError, "x: got shape (4, 2, 3), needed (batch, *, 2)"),
    (ONES, (2,), ShapeError, "x: got shape (4, 2, 3), needed (batch, 2)"),
    (ONES, (), ShapeError, "x: got shape (4, 2, 3), needed (batch)"),
    (
        torch.tensor([[1.0, math.nan]]),
        None,
        NonFiniteError,
        "x: got nan at index (0, 1), needed finite numbers; remove",
    ),
    (torch.tensor([1.0, -math.inf]), None, NonFiniteError, "x: got -inf at index (1,), needed finite numbers"),
    (torch.tensor([math.inf, math.nan]), (), NonFiniteError, "x: got inf at index (0,), needed finite numbers"),
]


@pytest.mark.parametrize(("value", "trailing", "kind", "message"), BAD_BATCHES)
def test_unusable_batches_are_refused(value: Any, trailing: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(InputError) as caught:
        batch_of("x", value, trailing=trailing)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_inside_passes_when_every_sample_is() -> None:
    inside("x", torch.ones(2), torch.tensor([True, True]), "x > 0", "take absolute values")


def test_inside_names_the_first_sample_outside_and_its_value() -> None:
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [-2.0, 0.0]])
    with pytest.raises(DomainError) as caught:
        inside("x", x, x[:, 0] > 0, "x[0] > 0", "reflect it")
    assert str(caught.value) == "x: got [-1.0, 0.5] at sample 1, needed x[0] > 0; reflect it"


def test_inside_shortens_large_samples() -> None:
    with pytest.raises(DomainError) as caught:
        inside("x", torch.zeros(1, 1000), torch.tensor([False]), "x != 0", "drop it")
    assert str(caught.value).startswith("x: got [0.0, 0.0")
    assert str(caught.value).endswith("..., needed x != 0; drop it")
    assert len(str(caught.value)) < 170


@pytest.mark.parametrize("value", [5e-324, 1, 1.5, 1e308])
def test_positive_numbers_pass(value: float) -> None:
    assert positive("radius", value) == value


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_positive_and_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError) as caught:
        positive("radius", value)
    assert str(caught.value) == f"radius: got {value}, needed a finite number > 0; pass for example radius=1.0"


@pytest.mark.parametrize("value", [5e-324, 0.5, 1 - 2**-53])
def test_numbers_in_the_open_unit_interval_pass(value: float) -> None:
    assert open_unit("eta", value) == value
    assert open_unit("eta", value, include_one=True) == value


@pytest.mark.parametrize("value", [0, 0.0, 1, 1.0, 1 + 2**-52, -0.5, math.nan, math.inf])
def test_numbers_outside_the_open_unit_interval_are_refused(value: float) -> None:
    with pytest.raises(InputError) as caught:
        open_unit("eta", value)
    assert str(caught.value) == f"eta: got {value}, needed 0 < eta < 1; pass for example eta=0.5"


def test_one_passes_where_it_is_allowed_and_nothing_beyond() -> None:
    assert open_unit("eps", 1, include_one=True) == 1
    for value in (0, 1 + 2**-52, math.nan):
        with pytest.raises(InputError, match=rf"eps: got {value}, needed 0 < eps <= 1; pass for example eps=0.5"):
            open_unit("eps", value, include_one=True)
