"""Models of survey clusters with a field in space: their data, fields, baselines, predictions and areas."""
