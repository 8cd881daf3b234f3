"""Things to show in a lecture; the product knows nothing of them."""
