"""Message passing: symmetries of linear programs, any sizes, no batch mates, products along non-zeros, and faults that are seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from eqtheory.constructions import LinearProgram
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.gradients import Implicit, Phantom, Unrolled, fixed_point
from eqtheory.learned import MessagePassing, ProgramOperator, ScaledProgram, residual_contraction, scaled
from eqtheory.nests import map_tensors, take
from eqtheory.solvers import OnFailure, Stop

Run = Callable[[LinearProgram], Tensor]
CLOSE = 1e-12
"""Of states of size 1 after a few blocks of some dozens of sums in float64: a few hundred unit roundoffs."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def programs(batch: int = 3, m: int = 4, n: int = 7, nnz: int = 12, seed: int = 0) -> LinearProgram:
    g = seeded(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    places = torch.rand(batch, m * n, generator=g).argsort(dim=1)[:, :nnz].sort(dim=1).values
    ends = normal(batch, n, 2).sort(dim=2).values
    return LinearProgram(
        entries=normal(batch, nnz),
        rows=places // n,
        columns=places % n,
        b=normal(batch, m),
        equality=torch.rand(batch, m, generator=g) < 0.3,
        c=normal(batch, n),
        l=ends[..., 0].contiguous(),
        u=ends[..., 1].contiguous(),
    )


def network(width: int = 5, memory: int = 2) -> MessagePassing:
    block = MessagePassing(width, memory=memory, generator=seeded(1)).double()
    for bias in block.parameters():  # biases begin at zero and would hide faults
        if bias.ndim == 1:
            nn.init.normal_(bias, std=0.3, generator=seeded(2))
    return block


@torch.no_grad()
def iterated(G: ProgramOperator, x: LinearProgram | ScaledProgram, steps: int = 4) -> Tensor:
    state = G.initial_state(x)
    for _ in range(steps):
        state = G(state, x)
    return state


def relabelled(x: LinearProgram, rows: Tensor, columns: Tensor) -> LinearProgram:
    """Row `i` becomes `rows[i]`, variable `j` becomes `columns[j]`; non-zeros are stored in another order."""
    shuffle = torch.randperm(x.entries.shape[1], generator=seeded(9))
    back_rows, back_columns = rows.argsort(), columns.argsort()
    return replace(
        x,
        entries=x.entries[:, shuffle],
        rows=rows[x.rows][:, shuffle],
        columns=columns[x.columns][:, shuffle],
        b=x.b[:, back_rows],
        equality=x.equality[:, back_rows],
        c=x.c[:, back_columns],
        l=x.l[:, back_columns],
        u=x.u[:, back_columns],
    )


def worst_of_relabelling(run: Run, x: LinearProgram, memory: int) -> float:
    _, m, n = x.shape
    rows, columns = torch.randperm(m, generator=seeded(3)), torch.randperm(n, generator=seeded(4))
    before, after = run(x), run(relabelled(x, rows, columns))
    there = before[:, n:].reshape(-1, m, memory)[:, rows.argsort()].flatten(1)
    return float((torch.cat([before[:, :n][:, columns.argsort()], there], dim=1) - after).abs().max())


def worst_of_batch_mates(run: Run, x: LinearProgram) -> float:
    batch = x.shape[0]
    alone = torch.cat([run(take(x, torch.tensor([k]), batch)) for k in range(batch)])
    return float((run(x) - alone).abs().max())


@pytest.mark.parametrize("written_out", [False, True])
def test_relabelling_rows_and_variables_relabels_results(written_out: bool) -> None:
    G = ProgramOperator(network())
    assert worst_of_relabelling(lambda x: iterated(G, scaled(x, written_out=written_out)), programs(), 2) < CLOSE


@pytest.mark.parametrize("written_out", [False, True])
def test_an_instance_does_not_see_its_batch_mates(written_out: bool) -> None:
    G = ProgramOperator(network())
    assert worst_of_batch_mates(lambda x: iterated(G, scaled(x, written_out=written_out)), programs()) < CLOSE


def test_rows_that_are_told_apart_by_their_place_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, right=at.right + 1e-3 * torch.arange(at.right.shape[1])))

    assert worst_of_relabelling(fault, programs(), 2) > 1e-6


def test_variables_that_are_told_apart_by_their_place_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, costs=at.costs + 1e-3 * torch.arange(at.costs.shape[1])))

    assert worst_of_relabelling(fault, programs(), 2) > 1e-6


def test_costs_that_are_centred_over_the_whole_batch_are_caught() -> None:
    G = ProgramOperator(network())

    def fault(x: LinearProgram) -> Tensor:
        at = scaled(x)
        return iterated(G, replace(at, costs=at.costs - at.costs.mean()))

    assert worst_of_batch_mates(fault, programs()) > 1e-6


def test_products_along_non_zeros_are_those_of_the_matrix() -> None:
    x = programs()
    sparse, dense = scaled(x, written_out=False), scaled(x, written_out=True)
    assert sparse.matrix.ndim == 2
    assert dense.matrix.ndim == 3
    v, w = torch.randn(3, 7, 5, generator=seeded(5)).double(), torch.randn(3, 4, 5, generator=seeded(6)).double()
    assert torch.allclose(sparse.times(v), dense.matrix @ v, rtol=0, atol=CLOSE)
    assert torch.allclose(sparse.transposed(w), dense.matrix.mT @ w, rtol=0, atol=CLOSE)
    # The rows of the scaled matrix have length 1, positions and bounds are those of the statement.
    assert torch.allclose(dense.matrix.square().sum(dim=2), (dense.matrix != 0).any(dim=2).double())
    point = x.l + 0.25 * (x.u - x.l)
    assert torch.allclose(dense.position(point), torch.full_like(point, -0.5))
    assert torch.allclose(dense.position(x.u + 5), torch.ones_like(point))


SYMMETRIES: dict[str, Callable[[LinearProgram], LinearProgram]] = {
    "costs times 1000": lambda x: replace(x, c=1000 * x.c),
    "rows times numbers": lambda x: replace(
        x, entries=x.entries * (1.0 + x.rows), b=x.b * torch.arange(1.0, x.b.shape[1] + 1)
    ),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_what_leaves_the_solution_alone_leaves_the_result_alone(name: str) -> None:
    G, x = ProgramOperator(network()), programs()
    assert torch.allclose(iterated(G, SYMMETRIES[name](x)), iterated(G, x), rtol=0, atol=CLOSE)


def test_variables_in_other_units_change_units_of_the_result() -> None:
    block, x = network(), programs()
    other = replace(x, entries=x.entries / 3, c=x.c / 3, l=3 * x.l, u=3 * x.u)
    with torch.no_grad():
        at, there = scaled(x), scaled(other)
        one, two = block(block.zero_state(at), at), block(block.zero_state(there), there)
    assert torch.allclose(3 * one[:, :7], two[:, :7], rtol=0, atol=CLOSE)
    assert torch.allclose(one[:, 7:], two[:, 7:], rtol=0, atol=CLOSE)


@pytest.mark.parametrize(("m", "n", "nnz"), [(1, 1, 1), (2, 9, 4), (6, 3, 18), (20, 40, 41)])
def test_one_network_takes_programs_of_any_size(m: int, n: int, nnz: int) -> None:
    G = ProgramOperator(network())
    x = programs(2, m, n, nnz)
    state = iterated(G, x)
    assert state.shape == (2, n + 2 * m)
    assert bool(((state[:, :n] >= x.l - CLOSE) & (state[:, :n] <= x.u + CLOSE)).all())
    assert worst_of_relabelling(lambda at: iterated(G, at), x, 2) < CLOSE


def test_what_can_not_be_scaled_stays_finite_with_its_derivatives() -> None:
    x = programs()
    l, u = x.l.clone(), x.u.clone()  # noqa: E741
    u[0, 2] = l[0, 2]
    u[1] = l[1]
    x = replace(x, entries=torch.where(x.rows == 0, 0.0, x.entries), c=0 * x.c, l=l, u=u)
    inputs = [t.clone().requires_grad_() for t in (x.entries, x.b, x.c, x.l, x.u)]
    x = replace(x, **dict(zip(("entries", "b", "c", "l", "u"), inputs, strict=True)))
    G = ProgramOperator(network())
    state = G(G(G.initial_state(x), x), x)
    state.sum().backward()
    assert bool(torch.isfinite(state).all())
    assert all(t.grad is not None and bool(torch.isfinite(t.grad).all()) for t in inputs)
    assert torch.allclose(state[1, :7], x.l[1])


def test_derivatives_in_the_data_are_those_of_differences() -> None:
    x = programs(1)
    G = ProgramOperator(network())

    def run(*parts: Tensor) -> Tensor:
        at = replace(x, **dict(zip(("entries", "b", "c", "l", "u"), parts, strict=True)))
        return G(G(G.initial_state(at), at), at)

    inputs = [t.clone().requires_grad_() for t in (x.entries, x.b, x.c, x.l, x.u)]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize("gradient", [Phantom(steps=3, relaxation=1.0), Implicit(), Unrolled()])
def test_every_gradient_trains_every_weight(gradient: object) -> None:
    block, x = network(), programs()
    with torch.no_grad():  # a contraction, so that the equation can be solved
        for weight in block.parameters():
            weight.mul_(0.4)
    G = ProgramOperator(block)
    found = fixed_point(
        G, scaled(x), gradient=gradient, stop=Stop(rtol=1e-10, max_steps=300), on_failure=OnFailure.RETURN
    )
    (found.value.square().mean() + residual_contraction(G, found.value, scaled(x)).sum()).backward()
    for name, weight in block.named_parameters():
        assert weight.grad is not None, name
        assert bool(torch.isfinite(weight.grad).all()), name


def test_an_explicit_and_an_implicit_model_of_a_width_have_the_same_parameters() -> None:
    # Linear maps of 3 and 5 numbers, two rounds there and back, and out to 1 and 2 numbers; the iteration's weight.
    for width, wanted in ((4, 200), (8, 652), (32, 8740)):
        assert MessagePassing(width, memory=2).parameter_count == wanted


def test_messages_of_errors() -> None:
    x = programs()
    block = network()
    with pytest.raises(
        ShapeError, match=r"shape \(3, 7\), needed \(3, 15\): 7 variables and 2 numbers for each of 4 rows"
    ):
        block(torch.zeros(3, 7).double(), scaled(x))
    l = x.l.clone()  # noqa: E741
    l[1, 3] = -torch.inf
    with pytest.raises(DomainError, match="no bound on variable 3 of instance 1, needed two finite bounds"):
        scaled(replace(x, l=l))
    with pytest.raises(InputError, match="width"):
        MessagePassing(0)
    with pytest.raises(InputError, match="a MessagePassing"):
        ProgramOperator(nn.Linear(1, 1))  # type: ignore[arg-type]


def test_blocks_in_float32_stay_in_float32() -> None:
    x = map_tensors(lambda t: t.float() if t.dtype.is_floating_point else t, scaled(programs()))
    assert iterated(ProgramOperator(MessagePassing(4)), x).dtype is torch.float32
