"""`bin/admin`: what an operator needs for years. Each command is a row in commands.py."""
