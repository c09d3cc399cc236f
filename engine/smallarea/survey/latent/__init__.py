"""Latent indicators: factor and structural equation models of survey answers, and scores for every respondent."""
