"""What holds for every test."""

from __future__ import annotations

import signal

# What whoever started the tests ignores (nohup, a shell's background), all that they start would ignore.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
