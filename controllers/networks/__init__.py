"""Networks: bridges, addresses, ports, names and the loop that keeps them."""
