"""A figure that carries its uncertainty."""

import math
from typing import Any


class Estimate(float):
    """A number with its 95 % interval; it computes, compares and formats as the float it is.

    Parameters
    ----------
    value
        The figure; NaN where it is not defined.
    ci95
        Lower and upper end of the 95 % confidence interval, or None where there is none.
    method
        How the interval was made, in words, e.g. ``"bootstrap over 312 groups (1000 draws)"``; where
        there is none, why.

    Examples
    --------
    >>> sensitivity = Estimate(0.9, ci95=(0.82, 0.95), method="Clopper-Pearson")
    >>> sensitivity
    0.9000 [0.8200, 0.9500]
    >>> f"{sensitivity:.1%}"
    '90.0%'
    """

    ci95: tuple[float, float] | None
    method: str

    def __new__(cls, value: float, ci95: tuple[float, float] | None = None, method: str = "") -> "Estimate":
        """Make the number, then hang its interval on it."""
        estimate = super().__new__(cls, value)
        estimate.ci95 = None if ci95 is None else (float(ci95[0]), float(ci95[1]))
        estimate.method = method
        return estimate

    def __getnewargs__(self) -> tuple[float, tuple[float, float] | None, str]:  # type: ignore[override]
        return float(self), self.ci95, self.method

    def __repr__(self) -> str:
        if self.ci95 is None:
            return f"{float(self):.4f}"
        return f"{float(self):.4f} [{self.ci95[0]:.4f}, {self.ci95[1]:.4f}]"

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"value", "ci95", "method"}``, ready for JSON: None where not defined or infinite."""
        return {
            "value": float(self) if math.isfinite(self) else None,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "method": self.method,
        }
