"""Lines to paste."""
def propose(graph, problem, culprits): return ()
