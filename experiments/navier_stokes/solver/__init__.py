"""Steady flows of many forces at once."""
