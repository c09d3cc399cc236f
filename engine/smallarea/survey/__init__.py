"""From survey tables to direct estimates and their sampling variances."""
