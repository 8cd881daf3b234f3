"""The audit of a ledger: reads the file alone, and shares no code with what writes it."""
