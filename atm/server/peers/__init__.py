"""The other servers: links to them, connections from them, and the handshake."""
