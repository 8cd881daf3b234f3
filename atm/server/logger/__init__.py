"""What a server tells its operator: an event a line. In all other rooms "the log" is Raft's."""
