"""Ground floor: what a job is and what may follow. No I/O, no clock, no logging."""
