"""Commands that measure and draw; run them from the root of the repository, `python -m experiments.toy measure`."""
