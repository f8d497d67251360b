"""How fast a relaxation can be within a budget, on the line and in the plane."""
