"""The Processing algorithms, one module each; every one of them is a job for the engine."""
