"""The back office: what the bank's own people do with the books. They verify, export and import them."""
