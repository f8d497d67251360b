"""T9: how a fixed point is differentiated, and how far every shorter way of doing so is from the truth.

At a fixed point write `J = d_yG` and `B = d_xG`. The derivative of the fixed-point map is `Dy* = (I - J)^-1 B`; a backward pass
with loss gradient `v` needs the *adjoint* `w = (I - J^T)^-1 v` and returns `B^T w`. Loss gradients are functionals: they and the
adjoints are measured in the dual of the state's norm (Euclidean is its own dual, sup and sum are each other's), in which
`J^T` has the norm of `J`.
"""

from __future__ import annotations

from typing import Any

from eqtheory.theorems._types import Hypothesis, Source, Theorem, inequality
from eqtheory.theorems.banach import residual_bound

__all__ = [
    "THEOREM",
    "certificate",
    "gradient_certificate",
    "jacobian_bound",
    "neumann_truncation",
    "phantom_truncation",
    "residual_bound",
]


@inequality("|Dy*| <= |d_xG| / (1 - mu)")
def jacobian_bound(*, derivative_norm: Any, input_norm: Any, mu: Any) -> tuple[Any, Any]:
    """Size of the derivative of the fixed point, in operator norms; for one adjoint, `|B^T w| <= |B| |v| / (1 - mu)`."""
    return derivative_norm, input_norm / (1 - mu)


@inequality("|w_K - w| <= mu^K / (1 - mu) |v|  (w_K = sum of (J^T)^k v over k < K)")
def neumann_truncation(*, error: Any, mu: Any, cotangent_norm: Any, terms: Any) -> tuple[Any, Any]:
    """Error of the Neumann adjoint with the powers `0 .. terms - 1`, in the dual norm."""
    return error, mu**terms / (1 - mu) * cotangent_norm


@inequality(
    "|w_K - w| <= (1 - lambda (1 - mu))^K / (1 - mu) |v|  (w_K = lambda sum of ((1 - lambda) I + lambda J^T)^k v)"
)
def phantom_truncation(*, error: Any, mu: Any, relaxation: Any, cotangent_norm: Any, steps: Any) -> tuple[Any, Any]:
    """Error of the adjoint of `steps` relaxed steps, in the dual norm; `relaxation = 1` is the Neumann adjoint."""
    return error, (1 - relaxation * (1 - mu)) ** steps / (1 - mu) * cotangent_norm


@inequality("|(I - J(y))^-1 B(y) - Dy*| <= (alpha |D| + beta) |y - y*| / (1 - mu)  (D either of the two derivatives)")
def certificate(
    *, error: Any, mu: Any, alpha: Any, beta: Any, derivative_norm: Any, state_error: Any
) -> tuple[Any, Any]:
    """Error of the derivative formula at any state, where its factors `d_yG` and `d_xG` are `alpha`- and `beta`-Lipschitz in it."""
    # `derivative_norm` may be that of the computed derivative: then, with T1's bound for `state_error`, the right side is known.
    return error, (alpha * derivative_norm + beta) * state_error / (1 - mu)


@inequality("|B(y)^T w^ - Dy*^T v| <= |Dy*| (|v + J(y)^T w^ - w^| + alpha |y - y*| |w^|) + beta |y - y*| |w^|")
def gradient_certificate(
    *,
    error: Any,
    alpha: Any,
    beta: Any,
    derivative_norm: Any,
    adjoint_norm: Any,
    adjoint_residual: Any,
    state_error: Any,
) -> tuple[Any, Any]:
    """Error of one backward pass, from any state and any adjoint: what an iterative solve of both leaves behind."""
    # For `derivative_norm` any upper bound will do, such as the right side of `jacobian_bound` at |B(y)| + beta |y - y*|.
    spread = state_error * adjoint_norm
    return error, derivative_norm * (adjoint_residual + alpha * spread) + beta * spread


THEOREM = Theorem(
    id="T9",
    slug="implicit-gradient",
    title="Differentiating the fixed point",
    hypotheses=(
        Hypothesis("inputs form an open subset of a normed space and G is continuously differentiable"),
        Hypothesis("|d_yG(y,x)| <= mu(x) < 1 for all y, in the operator norm of the state's norm", control="N7"),
        Hypothesis(
            "for the certificates: d_yG and d_xG have Lipschitz constants alpha and beta in y, between y and y*"
        ),
        Hypothesis("for phantom steps: 0 < lambda <= 1"),
    ),
    conclusion=(
        "y* is continuously differentiable, Dy* = (I - d_yG)^-1 d_xG and |Dy*| <= |d_xG|/(1 - mu). In the dual norm the Neumann "
        "adjoint of K terms errs by at most mu^K/(1 - mu) |v|, K relaxed steps by at most (1 - lambda (1 - mu))^K/(1 - mu) |v|, and "
        "any adjoint whatever by at most its residual |v + J^T w^ - w^|/(1 - mu), which is T1 for w -> v + J^T w. The formula "
        "evaluated at a state y instead of y* errs by at most (alpha |D| + beta) |y - y*|/(1 - mu), D being either derivative; and a "
        "backward pass with any adjoint w^ there by at most |Dy*| (its residual + alpha |y - y*| |w^|) + beta |y - y*| |w^|."
    ),
    source=Source.CLASSICAL,
    credit=(
        "Implicit function theorem; for implicit models Bai, Kolter, Koltun 2019 (implicit), Geng et al. 2021 (phantom) and "
        "Wu Fung et al. 2022 (one term). Constants, the certificate with either derivative, and that of a backward pass: this project."
    ),
    proof=(
        "I - J is invertible as |J| <= mu < 1, so near x the equation y = G(y,x) has a C1 branch of solutions; fixed points are unique "
        "(T1), so it is y*, and differentiating gives Dy* = J Dy* + B, hence the formula and |Dy*| <= mu |Dy*| + |B|. Let w solve "
        "w = v + J^T w, so |w| <= |v|/(1 - mu). With T = (1 - lambda) I + lambda J^T, I - T = lambda (I - J^T) and "
        "w - lambda sum_{k<K} T^k v = w - sum_{k<K} T^k (I - T) w = T^K w, where |T| <= 1 - lambda + lambda mu; lambda = 1 is the Neumann "
        "series. With hats at the state y: (I - J^)(D^ - Dy*) = B^ - B + (J^ - J) Dy*, since B = (I - J) Dy*; the same "
        "with the roles exchanged, (I - J)(D^ - Dy*) = B^ - B + (J^ - J) D^. With the residual s = v + J^^T w^ - w^ of an adjoint there, "
        "B^^T w^ - Dy*^T v = (B^ - B)^T w^ + Dy*^T ((J^ - J)^T w^ - s), since Dy*^T (I - J^T) = B^T."
    ),
    inequalities=(
        jacobian_bound,
        neumann_truncation,
        phantom_truncation,
        residual_bound,
        certificate,
        gradient_certificate,
    ),
    sharp=(
        "G(y,x) = mu y + b x attains all but the certificates, of which the first then says 0 <= 0; "
        "G(y,x) = j y + alpha y^2/2 + (b + beta y) x at x = y* = 0 and a state e > 0 with mu = j + alpha e attains both."
    ),
    constructions=(
        "eqtheory.gradients.Implicit",
        "eqtheory.gradients.Neumann",
        "eqtheory.gradients.Phantom",
    ),
    references=("bai2019deep", "geng2021training", "wufung2022jfb"),
)
