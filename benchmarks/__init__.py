"""daemonry measured beside its peers; ``benchmarks/run`` is the way in."""
