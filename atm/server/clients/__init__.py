"""Clients' connections: requests in, replies out, PINs sealed on the way."""
