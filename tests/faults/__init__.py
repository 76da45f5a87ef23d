"""Experiments that strike a running service, and a ledger that proves nothing was lost or doubled.

| Part | Where |
|---|---|
| what must hold: four sources compared, six empty lists | `ledger.py`, `evidence.py` |
| the service with every part in the test's own hand | `site.py` |
| steady load: sends that are tried again until settled, phones that write | `load.py` |
| the faults, and which strike in which experiment | `strikes.py`, `experiments.py` |
| a node that dies where it is told to | `failing_node.py` |
| protections taken away on purpose | `mutants.py` |
| `make faults`: progress, table, JSON | `__main__.py`, `report.py` |
| `make soak`: what the parts use under steady traffic | `soak.py`, `trend.py`, `short_memory.py` |
| `make cycles`: what starts and stops leave behind | `cycles.py`, `fake_node.py` |
| `make figures`: how long things take when something breaks | `figures.py` |
| what processes use, and on what machine | `usage.py`, `machine.py` |
"""
