"""A process that competes for a lease, and prints (time, whether it leads) until it is killed."""

from __future__ import annotations

import sys
import time

from pymr.peer.store.lease import Lease, boot_time


class Memory:
    """What this process remembers, as long as it lives."""

    incarnation: str | None = None
    epoch = 0
    change = 0

    def remember(self, incarnation: str, epoch: int) -> None:
        self.incarnation, self.epoch = incarnation, max(self.epoch, epoch)


if __name__ == "__main__":
    url, cluster, name = sys.argv[1:]
    lease = Lease(
        url, None, cluster, peer=name, boot=1, state=Memory(), on_change=lambda view: None, clock=boot_time
    )
    lease.start()
    while True:
        now = boot_time()
        print(now, lease.is_leader(now), flush=True)
        time.sleep(0.005)
