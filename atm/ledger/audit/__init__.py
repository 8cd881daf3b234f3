"""The audit of a ledger: it reads only the file; of the rules it imports the hash of a posting alone."""
