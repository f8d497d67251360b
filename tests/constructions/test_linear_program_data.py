"""Linear programs as data: what is refused, products, pairing, perturbations that arrive as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from eqtheory.constructions import (
    LargestPart,
    LinearProgram,
    ProgramPart,
    block_diagonal,
    equilibrated,
    part_distances,
    perturbed,
    shifted,
)
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import matrix_norm_upper_bound
from eqtheory.nests import Raveled
from eqtheory.norms import Euclidean
from tests.constructions.linear_programs import INF, drawn, program, two_variables


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_products_are_those_of_the_dense_matrices() -> None:
    x = drawn(seeded())
    y, p = torch.randn(5, 6, generator=seeded(1)).double(), torch.randn(5, 3, generator=seeded(2)).double()
    A = x.dense()
    assert torch.allclose(x.times(y), (A @ y.unsqueeze(2)).squeeze(2), rtol=1e-14, atol=1e-14)
    assert torch.allclose(x.transposed(p), (A.mT @ p.unsqueeze(2)).squeeze(2), rtol=1e-14, atol=1e-14)
    alone = x.select(torch.tensor([3]))
    assert torch.equal(alone.times(y[3:4]), x.times(y)[3:4])  # bit for bit, whatever the batch mates


def test_a_block_diagonal_program_is_its_parts_one_after_the_other() -> None:
    x, other = drawn(seeded()), two_variables()
    whole = block_diagonal([x, other])
    assert whole.shape == (1, 5 * 3 + 1, 5 * 6 + 2)
    y, z = torch.randn(5, 6, generator=seeded(1)).double(), torch.ones(1, 2).double()
    together = torch.cat([y.reshape(1, -1), z], dim=1)
    expected = torch.cat([x.times(y).reshape(1, -1), other.times(z)], dim=1)
    assert torch.equal(whole.times(together), expected)
    with pytest.raises(ShapeError, match="programs: got none"):
        block_diagonal([])


def test_infinite_bounds_are_kept_as_finite_numbers_that_clip_nothing() -> None:
    x = program([[1, 1]], [1], [1, 2], [0, -INF], [INF, 1])
    assert bool(torch.isfinite(x.l).all() & torch.isfinite(x.u).all())
    assert x.lower.tolist() == [[0.0, -INF]]
    assert x.upper.tolist() == [[INF, 1.0]]
    again = replace(x, c=x.c + 1)  # the checks run again and see the same bounds
    assert torch.equal(again.l, x.l)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"l": torch.tensor([[2.0, 0.0]]).double()},
            InputError,
            r"l: got l = 2.0 > u = 1.0 at instance 0, variable 0, needed l <= u",
        ),
        (
            {"c": torch.tensor([[float("nan"), 0.0]]).double()},
            NonFiniteError,
            r"c: got a NaN or an infinity at index \(0, 0\)",
        ),
        ({"b": torch.tensor([[INF]]).double()}, NonFiniteError, "only bounds may be infinite"),
        ({"u": torch.tensor([[float("nan"), 0.0]]).double()}, NonFiniteError, "u: got a NaN"),
        ({"l": torch.tensor([[INF, 0.0]]).double()}, NonFiniteError, "l: got a NaN or inf"),
        ({"b": torch.ones(1, 2).double()}, ShapeError, r"equality: got shape \(1, 1\), needed \(1, 2\)"),
        ({"c": torch.ones(1, 2)}, InputError, "torch.float32, torch.float64, needed one type"),
        ({"rows": torch.tensor([[0, 1]])}, InputError, "an index outside, needed 0 <= row < 1"),
        ({"columns": torch.tensor([[1, 1]])}, InputError, "an entry given twice"),
        ({"rows": torch.tensor([[0.0, 0.0]])}, InputError, "rows: got torch.float32, needed a tensor of torch.int64"),
        ({"c": [1.0, 2.0]}, InputError, "c: got list"),
    ],
)
def test_what_cannot_be_a_program_is_refused(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(two_variables(), **change)  # type: ignore[arg-type]


def test_instances_with_other_numbers_of_nonzeros_are_refused_and_ids_have_to_differ() -> None:
    A = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    rest = {"b": torch.ones(2, 1), "c": torch.ones(2, 2), "l": torch.zeros(2, 2), "u": torch.ones(2, 2)}
    with pytest.raises(ShapeError, match="A: got 1 to 2 non-zeros"):
        LinearProgram.from_dense(A, **rest)
    both = LinearProgram.from_dense(A, pattern=torch.ones_like(A, dtype=torch.bool), **rest)
    assert torch.equal(both.dense(), A)
    with pytest.raises(InputError, match="an id that stands for two instances"):
        replace(both, ids=torch.tensor([4, 4]))


def test_instances_are_paired_by_id_and_not_by_position() -> None:
    x = replace(drawn(seeded()), ids=torch.tensor([7, 3, 9, 1, 5]))
    kept = x.select(torch.tensor([9, 7]))  # an instance dropped and the order changed
    moved = perturbed(kept, ProgramPart.COSTS, 1e-4, seeded(1))
    assert torch.equal(moved.ids, torch.tensor([9, 7]))
    back = x.select(moved.ids)
    assert float((part_distances(back, moved).amax(dim=1) - 1e-4).abs().max()) <= 1e-12
    with pytest.raises(InputError, match="second: got other ids"):
        part_distances(x.select(torch.tensor([7, 9])), moved)  # planted fault: paired by position
    with pytest.raises(InputError, match=r"ids: got \[4\]"):
        x.select(torch.tensor([4]))


@pytest.mark.parametrize("part", ProgramPart)
@pytest.mark.parametrize("size", [1e-6, 1e-4, 1.0])
def test_the_perturbation_that_arrives_is_the_one_asked_for(part: ProgramPart, size: float) -> None:
    x = drawn(seeded(), batch=40)
    moved = perturbed(x, part, size, seeded(3))
    gaps = part_distances(x, moved)
    own = gaps[:, list(ProgramPart).index(part)]
    assert float((own - size).abs().max()) <= 1e-12
    assert torch.equal(gaps.sum(dim=1), own)  # nothing else moved
    assert torch.equal(LargestPart().distance(x, moved), own)
    assert torch.equal(moved.rows, x.rows)  # non-zeros stay where they are
    # The trap it avoids: five decimals on the way destroy a perturbation of norm 1e-4.
    if size == 1e-4 and part is ProgramPart.MATRIX:
        text = (moved.entries * 1e5).round() / 1e5
        assert float((torch.linalg.vector_norm(text - x.entries, dim=1) - size).abs().max()) > 1e-8


def test_bounds_keep_their_order_and_infinite_ones_their_place() -> None:
    x = program([[1, 1]], [1], [1, 2], [0, -INF], [1e-9, 1])
    for seed in range(8):
        moved = perturbed(x, ProgramPart.UPPER, 1e-3, seeded(seed))
        assert bool((moved.l <= moved.u).all())
        down = perturbed(x, ProgramPart.LOWER, 1e-3, seeded(seed))
        assert down.lower[0, 1] == -INF
        assert float(down.lower[0, 0]) == -1e-3 or float(down.lower[0, 0]) <= 1e-9
    with pytest.raises(InputError, match="part: got UPPER, needed a part with a finite coordinate"):
        perturbed(program([[1]], [1], [1], [0], [INF]), ProgramPart.UPPER, 1e-3, seeded())
    with pytest.raises(InputError, match="size: got 0"):
        perturbed(x, ProgramPart.COSTS, 0.0, seeded())
    with pytest.raises(ShapeError, match="by: got shape"):
        shifted(x, ProgramPart.COSTS, torch.zeros(1, 3))


def test_the_coordinates_of_the_input_are_its_data_in_the_order_of_the_parts() -> None:
    x = drawn(seeded())
    flat = Raveled(x, 5).flat(x)
    assert torch.equal(flat, torch.cat([getattr(x, part.value) for part in ProgramPart], dim=1))


def test_equilibrating_is_a_change_of_units_with_norm_at_most_one() -> None:
    x = drawn(seeded(), batch=8)
    x = replace(x, entries=x.entries * 10.0 ** torch.randint(-4, 5, x.entries.shape, generator=seeded(4)))
    scaled = equilibrated(x)
    assert float(matrix_norm_upper_bound(scaled.program.dense(), Euclidean()).max()) <= 1 + 1e-12
    y = torch.randn(8, 6, generator=seeded(5)).double()
    # D A E y~ = s D A y for y = E y~ / s, in units s of the right side.
    back = scaled.program.times(y / scaled.primal)
    row_units = scaled.program.b / x.b
    assert torch.allclose(back, x.times(y) * row_units, rtol=1e-9)
    cost = scaled.program.c / scaled.primal
    assert torch.allclose(cost / x.c, (cost / x.c)[:, :1].expand_as(cost), rtol=1e-9)
