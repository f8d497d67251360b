"""What a model answers and what its latent state does after `t` iterations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eqtheory import audit
from eqtheory.learned.recurrent_depth import (
    ExitRule,
    OutputDivergence,
    Prompt,
    RecurrentDepthTransformer,
    StateChange,
    SteadyAnswer,
    exit_distances,
)
from eqtheory.lipschitz import Curve, Search, curve
from experiments.common.checkpoints import accelerator, random_generator
from experiments.reasoning.tasks import Chain, Questions

__all__ = ["accuracy", "accuracy_curve", "audited", "exits", "latent_curve", "rules"]


def _placed(questions: Questions) -> Questions:
    where = accelerator()
    parts = (questions.tokens.to(where), questions.visible.to(where), questions.answers.to(where))
    return Questions(*parts, written=questions.written)


@torch.no_grad()
def accuracy(model: nn.Module, questions: Questions) -> dict[str, float]:
    """Say how often an explicit model is right.

    Args:
        model: the model.
        questions: that it is asked.

    Returns:
        `accuracy` of answers proper, `exact`: the part where everything asked for is right.
    """
    asked = _placed(questions)
    logits = model(asked.tokens, asked.visible)
    return {
        "accuracy": float(asked.right(logits).double().mean()),
        "exact": float(asked.all_right(logits).double().mean()),
    }


@torch.no_grad()
def accuracy_curve(
    model: RecurrentDepthTransformer, questions: Questions, iterations: list[int], y0: Tensor | None = None
) -> dict[str, list[float]]:
    """Follow accuracy over iterations.

    Args:
        model: the model.
        questions: that it is asked.
        iterations: increasing numbers of iterations to look at.
        y0: where the state starts; zero by default.

    Returns:
        `accuracy`, `exact`, and `residual`: the largest relative step of a sentence's state.
    """
    asked = _placed(questions)
    x, G = model.embed(asked.tokens, asked.visible), model.operator()
    y = G.initial_state(x) if y0 is None else y0
    found: dict[str, list[float]] = {"accuracy": [], "exact": [], "residual": []}
    for t in range(1, iterations[-1] + 1):
        after = G(y, x)
        if t in iterations:
            logits = model.read(after, x.visible)
            found["accuracy"].append(float(asked.right(logits).double().mean()))
            found["exact"].append(float(asked.all_right(logits).double().mean()))
            found["residual"].append(float(((after - y).flatten(1).norm(dim=1) / after.flatten(1).norm(dim=1)).max()))
        y = after
    return found


def latent_curve(
    model: RecurrentDepthTransformer, questions: Questions, steps: int, tangents: int
) -> tuple[Curve, dict[str, Any]]:
    """Follow the slope of embedded prompt to latent state over iterations, all in one pass.

    Tangents are random directions of the embedded prompt, so slopes are lower bounds on the local Lipschitz constants. Two starts beside
    zero show whether the end depends on the start.

    Args:
        model: the model.
        questions: whose prompts are varied.
        steps: the last iteration.
        tangents: directions.

    Returns:
        The curve, and as plain values: the worst slope after every iteration, the worst relative residual, and what was noticed.
    """
    asked = _placed(questions)
    x = model.embed(asked.tokens, asked.visible)
    draw = random_generator(23, len(asked.tokens))
    others = [model.start(x, scale=scale, generator=draw) for scale in (0.5, 1.0)]
    found = curve(model.operator(), x, steps, block=tangents, other_starts=others, generator=draw)
    relative = found.residual[1:] / found.size[1:]
    about = {
        "iterations": found.steps.tolist(),
        "slope": found.worst().tolist(),
        "relative_residual": [None, *relative.amax(dim=1).tolist()],
        "findings": [str(finding) for finding in found.findings],
        "iteration": found.iteration,
        "how": found.how,
    }
    return found, about


def rules(largest: int) -> list[ExitRule]:
    """List the exit rules that are audited.

    Args:
        largest: the most iterations of each.

    Returns:
        The rules.
    """
    return [
        StateChange(largest, below=0.1),
        StateChange(largest, below=0.03),
        StateChange(largest, below=0.01),
        OutputDivergence(largest, below=5e-4),
        SteadyAnswer(largest, patience=3),
        SteadyAnswer(largest, patience=6),
    ]


def exits(model: RecurrentDepthTransformer, questions: Questions, largest: int, settled: int) -> list[dict[str, Any]]:
    """Audit exit rules: how far the state is from where it ends when a rule fires, and whether the answer is the final one.

    Args:
        model: the model.
        questions: that it is asked.
        largest: the most iterations of a rule.
        settled: iterations after which states are taken for the fixed point.

    Returns:
        One row a rule: mean and largest number of iterations, median and largest distance, how much the rule saw, agreement with the
        answer in the end, accuracy at the exit, and the largest residual in the end, without which distances mean nothing.
    """
    asked = _placed(questions)
    x: Prompt = model.embed(asked.tokens, asked.visible)
    rows = []
    for rule in rules(largest):
        found = exit_distances(model, x, rule, settled=settled)
        rows.append(
            {
                "rule": repr(rule),
                "steps_mean": float(found.steps.double().mean()),
                "steps_largest": int(found.steps.max()),
                "distance_median": float(found.distance.median()),
                "distance_largest": float(found.distance.max()),
                "change_largest": float(found.change.max()),
                "agreement": float(found.agrees.double().mean()),
                "accuracy": float((found.answers == asked.answers[:, -1]).double().mean()),
                "residual_in_the_end": float(found.residual.max()),
            }
        )
    return rows


def audited(model: RecurrentDepthTransformer, task: Chain, length: int, samples: int) -> dict[str, Any]:
    """Audit the core as an operator on states along its own iteration.

    Args:
        model: the model.
        task: whose prompts are drawn.
        length: steps of the chains.
        samples: how many.

    Returns:
        The audit as plain values, with `conclusion`.
    """
    G = model.operator()

    def sampler(n: int, generator: torch.Generator) -> tuple[Tensor, Prompt]:
        asked = _placed(task.draw(n, length, generator))
        x = model.embed(asked.tokens, asked.visible)
        # Half of the states are where the iteration ends, half are from nowhere.
        end = model.latent(x, 4 * length)
        pick = torch.arange(n, device=end.device).reshape(-1, 1, 1) % 2 == 0
        return torch.where(pick, end, model.start(x, scale=1.0, generator=generator)), x

    how = Search(steps=10, rounds=1, kept=2)
    found = audit(
        G, sampler, samples=samples, search=how, generator=random_generator(29), name="core", steps=4 * length
    )
    return {"conclusion": found.conclusion, **found.to_dict()}
