"""Settings of the suite: profiles for Hypothesis, one thread for torch."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # small operations in two contending threads are far slower than in one

# The `evidence` fixture is meant to add up over the examples of one test.
_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors]
_BASE = settings(deadline=None, print_blob=True, suppress_health_check=_ALLOWED)
settings.register_profile("eqtheory-quick", _BASE, max_examples=8, derandomize=True)
settings.register_profile("eqtheory-default", _BASE, max_examples=40, derandomize=True)
settings.register_profile("eqtheory-thorough", _BASE, max_examples=1000, derandomize=False)
settings.load_profile("eqtheory-default")
