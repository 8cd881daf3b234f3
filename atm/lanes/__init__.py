"""The bank on PostgreSQL: lanes, each with its accounts, its journal and one writer at a time."""
