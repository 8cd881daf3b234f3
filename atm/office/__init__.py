"""The back office, for the bank's operators: verify, export and import the books, repair a node."""
