"""One Raft group: its run loop, and what goes in and comes out of it."""
