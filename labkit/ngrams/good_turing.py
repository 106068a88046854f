"""Good-Turing: how much probability belongs to what was never seen, told by what was seen once."""

import numpy as np
from jaxtyping import Float, Int, Num


def turing(counts_of_counts: Num[np.ndarray, " counts"]) -> Float[np.ndarray, " counts-1"]:
    """Turing's estimate r* = (r + 1) N(r+1) / N(r) for r = 0, 1, …; NaN where N(r) is zero.

    Args:
        counts_of_counts: N(0), N(1), …: how many things were seen 0, 1, … times.

    Source: Good (1953), eq. 2; Church & Gale (1991), Table 1.

    >>> turing(np.array([10, 4, 2])).tolist()
    [0.4, 1.0]
    """
    n = np.asarray(counts_of_counts, dtype=float)
    r = np.arange(len(n) - 1)
    return np.divide((r + 1) * n[1:], n[:-1], out=np.full(len(r), np.nan), where=n[:-1] > 0)


def simple_good_turing(
    values: Int[np.ndarray, " kinds"], numbers: Int[np.ndarray, " kinds"], *, confidence: float = 1.65
) -> Float[np.ndarray, " kinds"]:
    """The reduced count of each count: Turing's estimate while it is reliable, a straight line in log-log after that.

    Reduced counts are scaled so that the mass of what was seen is 1 - N(1)/N, Turing's estimate.

    Args:
        values: the different counts that occur, ascending.
        numbers: how many things have each count.
        confidence: standard deviations between the two estimates beyond which Turing's is preferred.

    Source: Gale & Sampson (1995), Good-Turing frequency estimation without tears, section 6 and appendix.
    """
    values, numbers = np.asarray(values, dtype=float), np.asarray(numbers, dtype=float)
    total = float(values @ numbers)
    unseen = numbers[0] / total if len(values) and values[0] == 1 else 0.0
    if len(values) < 3 or unseen >= 1:
        # A line needs points. Take Turing's mass off evenly; if everything was seen once, half of it.
        return values * (1.0 - min(unseen, 0.5))
    slope = _log_log_slope(values, numbers)
    smooth = (values + 1) ** (slope + 1) / values**slope
    result = _switch(values, numbers, smooth, confidence=confidence)
    return result * (1.0 - unseen) * total / float(result @ numbers)


def _log_log_slope(values: Float[np.ndarray, " kinds"], numbers: Float[np.ndarray, " kinds"]) -> float:
    """The slope of log Z on log r, Z being N(r) spread over the gap to the neighbouring counts."""
    left = np.concatenate([[0.0], values[:-1]])
    right = np.append(values[1:], 2 * values[-1] - values[-2])
    spread = numbers / (0.5 * (right - left))
    x, y = np.log(values), np.log(spread)
    return float((x - x.mean()) @ (y - y.mean()) / ((x - x.mean()) ** 2).sum())


def _switch(
    values: Float[np.ndarray, " kinds"],
    numbers: Float[np.ndarray, " kinds"],
    smooth: Float[np.ndarray, " kinds"],
    *,
    confidence: float,
) -> Float[np.ndarray, " kinds"]:
    """Turing's estimates up to the first that is missing or not clearly different from the line, then the line."""
    result = smooth.copy()
    for i in range(len(values) - 1):
        if values[i + 1] != values[i] + 1:
            break
        r, n, n_next = values[i], numbers[i], numbers[i + 1]
        plain = (r + 1) * n_next / n
        deviation = np.sqrt((r + 1) ** 2 * n_next / n**2 * (1 + n_next / n))
        if abs(plain - smooth[i]) <= confidence * deviation:
            break
        result[i] = plain
    return result


def katz_ratios(counts_of_counts: Int[np.ndarray, " counts"]) -> Float[np.ndarray, " counts"]:
    """What Katz keeps of a count r = 0, 1, …, k (by place), and 1 for every count above k.

    The formula takes no more from the counts up to k than Turing gives to the unseen. Where it cannot be used (N(r) is
    zero, or the result is not between 0 and 1) the count is kept whole.

    Args:
        counts_of_counts: N(0) … N(k+1).

    Source: Katz (1987), eq. 10; Chen & Goodman (1998), section 2.4.
    """
    k = len(counts_of_counts) - 2
    result = np.ones(k + 2)
    result[0] = 0.0
    n = np.asarray(counts_of_counts, dtype=float)
    if n[1] == 0 or (k + 1) * n[k + 1] >= n[1]:
        return result
    common = (k + 1) * n[k + 1] / n[1]
    r = np.arange(1, k + 1)
    found = (turing(n)[1:] / r - common) / (1 - common)
    usable = (found > 0) & (found < 1)  # False for NaN too
    result[1 : k + 1] = np.where(usable, found, 1.0)
    return result
