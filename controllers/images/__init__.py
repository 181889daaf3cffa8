"""Images: references, layers on disk, archives, registries."""
