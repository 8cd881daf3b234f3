"""The teller: what a person, or a script in its place, has of the bank."""
