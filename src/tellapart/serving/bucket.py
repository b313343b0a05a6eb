"""How often one key may ask."""

import time


class Bucket:
    """Requests that may be made: it fills at `rate_per_s`, up to one second's worth."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._capacity = max(1.0, rate_per_s)
        self._left = self._capacity
        self._at_s = time.monotonic()

    def take(self) -> float:
        """Take one; return 0, or how many seconds to wait for one."""
        now_s = time.monotonic()
        self._left = min(self._capacity, self._left + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._rate_per_s
        self._left -= 1
        return 0.0
