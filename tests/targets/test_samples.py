"""Tables of data as maps on finite metric spaces: what is accepted, what is looked up, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import DomainError, InputError, NonFiniteError, ShapeError
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.targets import RationalTable, SampleTable, _samples, from_samples

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())


def tensor(*entries: Any) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


def table(inputs: Tensor, values: Tensor, norm: Norm | None = None) -> SampleTable:
    return SampleTable(inputs, values, input_norm=norm or Sup(), output_norm=norm or Sup())


@pytest.fixture
def data() -> SampleTable:
    g = torch.Generator().manual_seed(1)
    return from_samples(
        torch.randn(50, 3, generator=g, dtype=torch.float64), torch.randn(50, 2, generator=g, dtype=torch.float64)
    )


# What comes in.


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        tuple,
        np.array,
        lambda rows: np.array(rows, dtype=np.float64),
        lambda rows: torch.tensor(rows, dtype=torch.float64),
    ],
    ids=["list", "tuple", "array", "float64 array", "tensor"],
)
def test_numbers_are_stored_as_they_came(form: Any) -> None:
    # 0.1 is not a float32; a table that went through one would hold 0.10000000149.
    rows = [0.1, 1e-200, 1 / 3, 16777217.0]
    found = from_samples(form(rows), form([2 * r for r in rows]))
    assert found.inputs.dtype is found.values.dtype is torch.float64
    assert found.inputs.tolist() == rows
    assert found.values.tolist() == [2 * r for r in rows]


def test_integers_and_narrow_types_become_float64() -> None:
    found = from_samples(np.arange(3, dtype=np.int32), torch.tensor([0.5, 1.5, 2.5], dtype=torch.float16))
    assert found.inputs.dtype is found.values.dtype is torch.float64
    assert found.inputs.tolist() == [0, 1, 2]
    assert from_samples([2**24 + 1, 0], [0, 1]).inputs.tolist() == [16777217.0, 0.0]


def test_norms_are_euclidean_unless_said_otherwise() -> None:
    plain = from_samples([[0.0, 0.0], [3.0, 4.0]], [0.0, 1.0])
    assert (plain.input_norm, plain.output_norm) == (Euclidean(), Euclidean())
    assert plain.distance(plain.points[:1], plain.points[1:]).item() == 5.0
    sup = from_samples([[0.0, 0.0], [3.0, 4.0]], [0.0, 1.0], input_norm=Sup(), output_norm=Sum())
    assert sup.distance(sup.points[:1], sup.points[1:]).item() == 4.0
    assert sup.name == "sup distance of the table's rows"
    assert sup.output_norm == Sum()


@pytest.mark.parametrize(
    ("inputs", "values", "kind", "message"),
    [
        (
            [1.0, math.nan],
            [1, 2],
            NonFiniteError,
            "inputs: got nan at index (1,), needed finite numbers; remove or repair",
        ),
        ([1, 2], [[1.0], [math.inf]], NonFiniteError, "values: got inf at index (1, 0), needed finite numbers"),
        ([], [], ShapeError, "inputs: got an empty batch of shape (0,), needed at least one sample"),
        ([1.0], [], ShapeError, "values: got an empty batch"),
        ([1.0, 2.0], [1.0], ShapeError, "values: got 1 rows, needed 2 rows, one per input; align the table"),
        (3.0, [1.0], ShapeError, "inputs: got a tensor without axes, needed a batch axis first"),
        (
            [[1.0], [1.0, 2.0]],
            [1, 2],
            InputError,
            "inputs: got list, needed a rectangular array of numbers; convert text",
        ),
        (["a", "b"], [1, 2], InputError, "inputs: got list, needed a rectangular array of numbers"),
        ([1, 2], np.array(["a", "b"]), InputError, "values: got ndarray, needed a rectangular array of numbers"),
        (None, [1], InputError, "inputs: got NoneType, needed a rectangular array of numbers"),
        ([1 + 2j], [1.0], InputError, "inputs: got "),
        (torch.tensor([1j]), [1.0], InputError, "inputs: got "),
    ],
)
def test_what_is_no_table_is_refused(inputs: Any, values: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_samples(inputs, values)
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_inputs_and_values_share_one_type() -> None:
    with pytest.raises(
        InputError, match=r"values: got torch.float64 on cpu, needed torch.float32 on cpu; convert one of"
    ):
        table(torch.zeros(2), torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("shift", [0.0, -0.0])
def test_one_point_with_two_values_is_no_map(shift: float) -> None:
    inputs = tensor([0.0, 1.0], [2.0, 3.0], [shift, 1.0])
    with pytest.raises(InputError) as caught:
        table(inputs, tensor(5.0, 6.0, 7.0))
    assert str(caught.value) == (
        "values: got rows 0 and 2 have equal inputs but values [5.0] and [7.0], needed one value per point; "
        "drop one of the two rows or average them"
    )


def test_one_point_may_appear_twice_with_one_value() -> None:
    twice = table(tensor(0.0, 1.0, -0.0), tensor(5.0, 6.0, 5.0))
    assert len(twice) == 3
    assert twice.distance(torch.tensor([0]), torch.tensor([2])).item() == 0.0


def test_two_values_are_found_wherever_they_hide() -> None:
    g = torch.Generator().manual_seed(2)
    rows, values = (
        torch.randn(500, 2, generator=g, dtype=torch.float64),
        torch.randn(500, generator=g, dtype=torch.float64),
    )
    table(rows, values)
    for i, j in ((0, 499), (17, 18), (250, 3)):
        copied = rows.clone()
        copied[i] = copied[j]
        low, high = sorted((i, j))
        with pytest.raises(InputError, match=f"rows {low} and {high} have equal inputs but values"):
            table(copied, values)


# Looking up.


def test_points_are_indices_and_values_belong_to_them(data: SampleTable) -> None:
    assert len(data) == 50
    assert torch.equal(data.points, torch.arange(50))
    assert torch.equal(data(data.points), data.values)
    assert torch.equal(data(torch.tensor([3, 3], dtype=torch.int32)), data.values[[3, 3]])


@pytest.mark.parametrize(
    ("index", "kind", "message"),
    [
        (
            torch.tensor([0.0]),
            InputError,
            "index: got torch.float32, needed an integer tensor of indices; pass table.points",
        ),
        (torch.tensor([0], dtype=torch.int8), InputError, "index: got torch.int8, needed an integer tensor of indices"),
        (torch.tensor([True]), InputError, "index: got torch.bool, needed an integer tensor of indices"),
        (3, InputError, "index: got int, needed an integer tensor of indices"),
        ([3], InputError, "index: got list, needed an integer tensor of indices"),
        (torch.tensor(3), ShapeError, "index: got shape (), needed (batch,), not empty; pass a one-dimensional tensor"),
        (torch.tensor([[3]]), ShapeError, "index: got shape (1, 1), needed (batch,), not empty"),
        (torch.tensor([], dtype=torch.int64), ShapeError, "index: got shape (0,), needed (batch,), not empty"),
        (
            torch.tensor([0, 50]),
            DomainError,
            "index: got index 50, needed 0 <= index < 50; the map is defined on the tab",
        ),
        (torch.tensor([0, -1, 50]), DomainError, "index: got index -1, needed 0 <= index < 50"),
    ],
)
def test_unusable_indices_are_refused(data: SampleTable, index: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(InputError) as caught:
        data(index)
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith(message)


def test_rows_are_found_exactly_and_the_first_of_equals_wins() -> None:
    found = table(tensor([1.0, 2.0], [0.0, 0.0], [1.0, 2.0]), tensor(1.0, 2.0, 1.0))
    assert found.indices_of(tensor([0.0, -0.0], [1.0, 2.0], [0.0, 0.0])).tolist() == [1, 0, 1]


def test_every_row_is_found_again(data: SampleTable) -> None:
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    assert torch.equal(data.indices_of(data.inputs[order]), order)


def test_a_row_that_is_not_in_the_table_is_refused(data: SampleTable) -> None:
    rows = data.inputs[:3].clone()
    rows[1, 0] = math.nextafter(float(rows[1, 0]), math.inf)
    with pytest.raises(
        DomainError, match=r"rows: got row 1 = \[.*\], needed rows of the table; the map is defined on the"
    ):
        data.indices_of(rows)
    with pytest.raises(ShapeError, match=r"rows: got shape \(3, 2\), needed \(batch, 3\); reshape it"):
        data.indices_of(rows[:, :2])
    with pytest.raises(NonFiniteError, match=r"rows: got nan at index"):
        data.indices_of(rows * math.nan)


# The metric.


@pytest.mark.parametrize("norm", [*NORMS, Spectral()], ids=lambda n: n.name)
def test_distances_are_those_of_the_rows(norm: Norm) -> None:
    g = torch.Generator().manual_seed(4)
    rows = torch.randn(20, 2, 2, generator=g, dtype=torch.float64)
    found = SampleTable(rows, rows, input_norm=norm, output_norm=Sup())
    i, j = torch.randint(20, (2, 100), generator=g)
    assert torch.equal(found.distance(i, j), norm(rows[i] - rows[j]))
    assert torch.equal(found.distance(i, j), found.distance(j, i))
    assert bool((found.distance(i, i) == 0).all())
    k = torch.randint(20, (100,), generator=g)
    assert bool((found.distance(i, j) <= (found.distance(i, k) + found.distance(k, j)) * (1 + 1e-14)).all())


@pytest.mark.parametrize("entries", [1, 7, 50, 2500, 10**6])
def test_blocks_cover_the_table_once_and_stay_small(
    data: SampleTable, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_samples, "_BLOCK_ENTRIES", entries)
    blocks = data.blocks()
    assert torch.equal(torch.cat([data.points[b] for b in blocks]), data.points)
    assert all((b.stop - b.start) * 50 <= max(entries, 50) for b in blocks)


# Standardising.


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1.0, 1e6]), offset=st.sampled_from([0.0, 1.0, 1e3]))
def test_columns_get_mean_zero_and_variance_one(seed: int, scale: float, offset: float) -> None:
    g = torch.Generator().manual_seed(seed)
    raw = scale * (offset + torch.randn(40, 3, generator=g, dtype=torch.float64))
    found = table(raw, raw[:, 0].clone()).standardised()
    for column in (*found.inputs.unbind(1), found.values):
        # The mean of 40 numbers of size offset + 1 rounds 40 times, relative to a spread of 1.
        assert abs(float(column.mean())) <= 100 * 2.0**-53 * (offset + 4)
        assert abs(float(column.square().mean()) - 1) <= 400 * 2.0**-53 * (offset + 4)


@pytest.mark.parametrize("constant", [0.0, 5.0, 0.1, 1e-30, 1e30])
def test_constant_columns_become_zero_and_not_noise(constant: float) -> None:
    raw = torch.stack([torch.full((37,), constant, dtype=torch.float64), torch.arange(37, dtype=torch.float64)], dim=1)
    found = table(raw, torch.full((37,), constant, dtype=torch.float64)).standardised()
    assert torch.equal(found.inputs[:, 0], torch.zeros(37, dtype=torch.float64))
    assert torch.equal(found.values, torch.zeros(37, dtype=torch.float64))
    assert float(found.inputs[:, 1].std(correction=0)) == pytest.approx(1.0, rel=1e-14)


def test_a_small_but_real_spread_is_kept() -> None:
    values = 1.0 + 1e-9 * torch.arange(20, dtype=torch.float64)
    found = table(values, values).standardised()
    assert float(found.values.square().mean()) == pytest.approx(1.0, rel=1e-5)


def test_standardising_keeps_norms_and_the_original(data: SampleTable) -> None:
    before = data.inputs.clone()
    found = data.standardised()
    assert (found.input_norm, found.output_norm) == (data.input_norm, data.output_norm)
    assert torch.equal(data.inputs, before)


# Rationals.


@pytest.mark.parametrize("norm", [Sup(), Sum()], ids=lambda n: n.name)
def test_the_rational_twin_holds_the_stored_numbers(norm: Norm) -> None:
    found = table(tensor([0.1, 0.2], [0.3, -0.4]), tensor([1.5, 0.1], [2.0, 0.3]), norm).rational()
    assert isinstance(found, RationalTable)
    gaps = [abs(Fraction(0.1) - Fraction(0.3)), abs(Fraction(0.2) - Fraction(-0.4))]
    assert found.distances[0][1] == (max(gaps) if isinstance(norm, Sup) else sum(gaps))
    assert found.values == ((Fraction(1.5), Fraction(0.1)), (Fraction(2), Fraction(0.3)))


def test_euclidean_tables_are_rational_on_one_coordinate_only() -> None:
    assert table(tensor(0.0, 0.5), tensor(1.0, 2.0), Euclidean()).rational().slope(0, 1) == 2
    with pytest.raises(InputError, match=r"norm: got l2, needed a norm that is rational on rational vectors; use Sup"):
        table(tensor([0.0, 0.5], [1.0, 2.0]), tensor(1.0, 2.0), Euclidean()).rational()
