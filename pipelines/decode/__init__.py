"""From a run's bytes to events; what cannot be decoded becomes a dead letter, never an exception."""
