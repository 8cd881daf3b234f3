"""Bytes to messages and back: pure functions of their input (docs/protocol.md)."""
