"""Room gmrf."""
