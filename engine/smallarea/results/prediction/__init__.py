"""How well a model predicts: scoring rules, leaving out, cross-validation, thinning, information criteria.

Pure functions of arrays; nothing here reads data or fits a model.
"""
