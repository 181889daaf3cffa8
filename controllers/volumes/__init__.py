"""Volumes: directories, or what the ``local`` driver's options have mounted on them, that outlive containers."""
