"""The suite that attacks every theorem of the registry.

Run it with `pytest proofs_check`. Every theorem has one file with the same five parts: the statement holds on hostile
instances, the bound is attained, each hypothesis is needed, wrong constructions are rejected, and an exact argument agrees.
"""
