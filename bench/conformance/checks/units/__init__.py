"""The checks of units: what a unit does when the kit is its gateway."""
