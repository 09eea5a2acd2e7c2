"""What tools/analyze.py is made of, and what tools/study.py measures with."""
