"""The hands: reconcile loops that make the host match the store, with host drivers beside the loops that use them."""
