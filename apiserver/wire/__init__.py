"""Request and response types per API group; what differs between versions is data."""
