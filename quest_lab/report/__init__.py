"""Reports of runs: one HTML page and its pictures. The only part that imports matplotlib."""
