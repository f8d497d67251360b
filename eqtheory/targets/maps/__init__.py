"""The maps of the catalogue, grouped by the mathematics that bounds them; import them from `eqtheory.targets`."""
