"""Reading and writing containers' files as tar streams, in helper processes confined to the tree they work on.

``helper.py`` is what the daemon uses. ``zygote.py`` is the helper process; it and what it imports stay free of
dependencies, so that it is small and quick to fork.
"""
