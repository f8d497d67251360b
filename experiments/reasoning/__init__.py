"""Reasoning with transformers of recurrent depth: more iterations, steeper maps, longer chains."""
