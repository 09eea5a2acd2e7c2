"""What ``tools/benchmark.py`` measures: one module a subject, and what they share."""
