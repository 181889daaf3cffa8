"""A whole machine dies, cleanly or by a power cut, with the service in it: by hand, for want of such a machine in CI.

What was acknowledged is written down out here, where the cut does not reach.
"""
