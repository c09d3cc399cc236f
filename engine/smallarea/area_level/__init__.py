"""Room area_level."""
