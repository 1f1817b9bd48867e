"""How late results are: histograms, stalls, deadlines and blame. Standard library only."""
