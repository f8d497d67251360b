"""What every experiment shares: presets and results that say where they come from."""
