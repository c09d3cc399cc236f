"""Missing answers: imputing them, and carrying their uncertainty into estimates."""
