"""Sockets: listening, reading by one thread, writing without waiting."""
