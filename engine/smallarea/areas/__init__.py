"""Room areas."""
