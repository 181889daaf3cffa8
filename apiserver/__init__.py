"""The wire: nothing here knows SQL or the host."""
