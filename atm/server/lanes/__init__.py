"""A server of a bank on PostgreSQL: who has which lane, one thread a lane that writes, and the way to it."""
