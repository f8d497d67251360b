"""Settings of the suite: profiles for Hypothesis, one thread for torch."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # small operations in two contending threads are far slower than in one

_COMMON = {
    "deadline": None,
    "print_blob": True,
    # The `evidence` fixture is meant to add up over the examples of one test.
    "suppress_health_check": [
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.differing_executors,
    ],
}
settings.register_profile("eqtheory-quick", max_examples=8, derandomize=True, **_COMMON)
settings.register_profile("eqtheory-default", max_examples=40, derandomize=True, **_COMMON)
settings.register_profile("eqtheory-thorough", max_examples=1000, derandomize=False, **_COMMON)
settings.load_profile("eqtheory-default")
