"""Networks over sequences of items."""
