"""How the Lipschitz constant of iterates grows on a real table."""
