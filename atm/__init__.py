"""An ATM network on Raft: five bank servers that keep one truth about every account."""
