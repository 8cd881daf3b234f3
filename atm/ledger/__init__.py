"""The bank: what tellers may ask, the rules that decide it, and the SQLite file that keeps it."""
