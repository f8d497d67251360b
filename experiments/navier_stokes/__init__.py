"""Steady Navier-Stokes flow on periodic rectangles: a solver that certifies, data made with it, and what learns from them."""
