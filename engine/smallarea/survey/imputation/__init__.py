"""Missing answers of a survey: models of the answers together, and draws of the missing ones given the observed."""
