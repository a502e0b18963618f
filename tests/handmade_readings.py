"""Readings made by hand."""

from greenai_utils.recording.store import Record


def reading(joules: float, source: str = "estimate") -> Record:
    """A reading over ten seconds."""
    return {
        "duration_s": 10.0,
        "domains_j": {"cpu": joules},
        "gross_j": joules,
        "net_j": joules,
        "idle_w": 0.0,
        "uncertainty_j": 0.01,
        "cpu_s": 10.0,
        "source": source,
        "boundary": "cpu",
    }
