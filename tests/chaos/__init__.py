"""SIGKILL for real processes at random moments, and what must be true afterwards."""
