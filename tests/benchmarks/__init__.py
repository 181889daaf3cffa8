"""How the engine grows, endures and comes back: ``python -m tests.benchmarks --help``."""
