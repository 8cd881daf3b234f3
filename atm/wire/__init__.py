"""Encoding and decoding of messages: pure functions of their input (docs/protocol.md)."""
