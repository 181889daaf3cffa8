"""Pulling: the registry v2 protocol (distribution-spec), its authentication, and blobs on their way in."""
