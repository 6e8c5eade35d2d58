"""What holds for all tests."""

import signal

# A shell starts background jobs with Ctrl-C ignored; commands that tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
