"""One bank server as a process: its threads, sockets and files. Only here is anything impure."""
