"""What walks through a program: fetch, loops, padding, program memory."""
