"""What holds for all tests."""

import signal

# A shell starts background jobs with Ctrl-C ignored, which commands that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
