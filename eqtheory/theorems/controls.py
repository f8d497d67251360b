"""The negative controls: drop one hypothesis and the conclusion fails, in a way that was predicted."""

from __future__ import annotations

from eqtheory.theorems._types import Control, Source

__all__ = ["CONTROLS"]

CONTROLS = (
    Control(
        id="N1",
        slug="pointwise-contraction",
        title="Contraction at every input, but not locally uniformly",
        theorems=("T2",),
        drops="'locally bounded away from 1' in (R1)",
        instance=(
            "X = [0,1], y*(x) = x^2 sin(x^-3), y*(0) = 0, e = min(1/2, x^2), c = clip(y, -x, x), "
            "G = y - e (c - y*) - (y - c)/2 and G(y,0) = y/2; exact twin: dist(s, Z) in place of sin s"
        ),
        prediction=(
            "G contracts at every x and has L1 = 0, L0 = 1 + sqrt(11) (twin: 5), yet slopes of pairs near 0 grow like 3/x^2. "
            "Slopes of pairs with 0 stay bounded: y* is calm there."
        ),
    ),
    Control(
        id="N2",
        slug="no-contraction",
        title="No contraction in the state",
        theorems=("T1", "T4", "T5", "T7", "T10", "T12", "T14", "T15"),
        drops="(R1)",
        instance="y + x with x != 0; -y; a rotation of the plane by a right angle",
        prediction="no fixed point; Picard oscillates with period 2; Picard circles at constant distance while averaging converges",
        source=Source.CLASSICAL,
    ),
    Control(
        id="N3",
        slug="constant-step",
        title="Averaging with a constant step",
        theorems=("T8", "T3"),
        drops="the adaptive step",
        instance="G = (1 - eps) y + eps F(x) with constant eps and a map F that is not globally Lipschitz",
        prediction="for every claimed L0 a pair violates (R2)",
        source=Source.PAPER,
    ),
    Control(
        id="N4",
        slug="not-locally-lipschitz",
        title="A map that is not locally Lipschitz",
        theorems=("T2", "T3", "T3a", "T3b", "T6a", "T15"),
        drops="local Lipschitz continuity of F",
        instance="sqrt|x| at 0, a jump at 0; on the finite sets {0} and 4^-k, +-2^-k",
        prediction="rho at the bad point tends to 0 as the set is refined, so mu tends to 1 and the construction breaks down there",
    ),
    Control(
        id="N5",
        slug="exponent-below-two",
        title="A power of the radius below two",
        theorems=("T3", "T3b"),
        drops="the second factor of the step: eps = rho^p with p < 2",
        instance="X = {0, delta, 1/(1+K)} with delta < 1/(1+K), F = (K, K, K+1)",
        prediction="lip(rho F) = K exactly, and the slope is unbounded in K for every p < 2",
    ),
    Control(
        id="N6",
        slug="degenerate-program",
        title="A linear program at a degenerate basis",
        theorems=("T12",),
        drops="non-degeneracy of the optimal basis",
        instance="min c y over 0 <= y <= 1 with the data c, at c = 0; the least-norm solution there is 0",
        prediction=(
            "the solution is 1 for c < 0 and 0 for c >= 0: slopes 1/h of the pairs (-h, h), and of (-h, 0), so no choice at c = 0 makes "
            "the map continuous; away from 0 it is constant. 'On a dense subset' cannot be left out"
        ),
        source=Source.CLASSICAL,
    ),
    Control(
        id="N7",
        slug="gradient-hypotheses",
        title="Gradients without contraction, or without full row rank",
        theorems=("T9", "T9a"),
        drops="|d_yG| <= mu < 1; full row rank of d_ThetaG",
        instance=(
            "J = diag(11/10, 1/2) with v = (1, 1) and with v = (0, 1); J = [[0, 10], [1/40, 0]]; M = (1, 0)^T with "
            "d_yG = [[0, 0], [1/2, 0]] and v = (1, -4)"
        ),
        prediction=(
            "the Neumann adjoint runs away like (11/10)^K for the v that excites the radius above 1 and converges for the other; |J| = 10 "
            "with radius 1/2 converges, so a norm above 1 alone does not diverge; the Jacobian-free direction ascends although "
            "|d_yG| = 1/2, M has full column rank and cond(M^T M) = 1"
        ),
    ),
    Control(
        id="N8",
        slug="adaptive-weights",
        title="A solver whose weights adapt to the input",
        theorems=("T4", "T4b", "T6"),
        drops="Picard's iteration: averages with weights that do not depend on x",
        instance="Anderson's acceleration with one difference on G = mu y + L0 x, from 0",
        prediction="slope L0/(1 - mu) after 2 evaluations, 1000 at mu = 0.999, where Picard's bound is 2 L0",
    ),
    Control(
        id="N9",
        slug="jacobian-without-convexity",
        title="A bound on Jacobians where the domain is not convex",
        theorems=("T5b",),
        drops="convexity of S",
        instance="G = (y + sign(x))/2 on [-1,1] without 0, from 0; on [-1,-h] and [h,1] for a finite slope",
        prediction=(
            "all Jacobians are 0, so the bound says that slopes never change; yet lip(y_t) = (1 - 2^-t)/h tends to 1/h, and sign(x) is "
            "not Lipschitz on the whole set"
        ),
        source=Source.CLASSICAL,
    ),
    Control(
        id="N10",
        slug="null-space",
        title="An observation with a null space, and a prior that is merely nonexpansive",
        theorems=("T10",),
        drops="s > 0: a smallest singular value above zero over the whole state space",
        instance=(
            "A = (1, 0) on the plane with M = [-1,1]^2, and with the nonexpansive prior step z -> z + (0, 1); for comparison M = the "
            "first axis, which meets the null space in 0 only"
        ),
        prediction=(
            "with the square, every (0, t) with |t| <= 1 is a fixed point at x = 0 of both operators, and pairs of them do not move; "
            "with the shift there is no fixed point, iterates drift by 1 a step; with the axis both contract: s > 0 is enough, not "
            "necessary"
        ),
    ),
    Control(
        id="N11",
        slug="set-not-convex",
        title="A set that is not convex, far away from it",
        theorems=("T10",),
        drops="convexity of M",
        instance="the sphere of radius 1 in R, that is M = {-1, 1}, with A = 1; on the plane, at the distance r of its centre",
        prediction=(
            "the proximal step jumps at 0, so for every claimed L0 a pair violates (R2); one observation has two fixed points, of which "
            "one is not a minimiser; F_alpha jumps by 2 alpha/(1 + alpha) at x = 0; on the plane the projection has the slope 1/r"
        ),
    ),
    Control(
        id="N12",
        slug="forces-beyond-smallness",
        title="Steady flow beyond the small forces",
        theorems=("T11",),
        drops="c F0 < nu^2",
        instance="the force (sin y, 0)/R at R = 4 on the torus of aspect 0.7, c F0 / nu^2 about 19",
        prediction=(
            "two steady flows that are not translates of each other, the laminar one of energy 1/4 and one of energy 0.20727947314588; no "
            "contraction has both as fixed points, and Oseen steps from near the laminar one leave it"
        ),
        source=Source.CLASSICAL,
    ),
    Control(
        id="N13",
        slug="aliased-products",
        title="Products that the grid folds back",
        theorems=("T11",),
        drops="exact products: advection evaluated on a grid with more than a third of its points as modes, in the form (u.grad) v",
        instance="vorticities with random modes up to just below half of the points of the grid",
        prediction="<(u.grad) v, v> is of the size of the form itself, where exact products leave rounding",
        source=Source.CLASSICAL,
    ),
)
