"""Tests of atm/tls: certificate files, handshakes, and encrypted connections."""
