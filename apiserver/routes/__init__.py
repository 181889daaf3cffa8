"""The operations, one module an API group; each module has ``routes(engine)``."""
