"""The truth: what was asked for (spec) and what is (status), in SQL, with a cache and a change feed.

Nothing here knows HTTP or the host.
"""
