"""What tools/study.py is made of."""
