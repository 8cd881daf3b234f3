"""The durable log and the data folder: files, and neither threads nor sockets."""
