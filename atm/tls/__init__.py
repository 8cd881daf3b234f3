"""TLS 1.3 with a certificate at both ends: files to contexts, and connections over memory buffers."""
