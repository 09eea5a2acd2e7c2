"""What ``tools/gpu_report.sh`` and ``tools/gpu_table2.sh`` run: parts, done once, and a page."""
