"""The audit of a ledger: it reads only the file, and shares no code with the rules that wrote it."""
