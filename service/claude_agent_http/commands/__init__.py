"""What people run in a terminal: one module a command."""
