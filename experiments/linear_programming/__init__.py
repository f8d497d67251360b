"""Linear programming: random instances, reference solutions, MPS files, and what first-order operators make of them."""
